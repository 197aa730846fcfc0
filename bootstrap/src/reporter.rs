//! Progress: steps with the time they took and the reason of waiting. Lines for a log, one line in place on a terminal, objects for programs.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::hints;

/// How progress is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The last line of a terminal is written anew.
    Live,
    /// A line for each change.
    Plain,
    /// A JSON object a line.
    Json,
}

pub struct Reporter {
    form: Form,
    out: Box<dyn Write>,
    began: Instant,
    step: Option<(String, Instant)>,
    /// The cluster that commands are told for.
    context: Option<String>,
    /// What is waited for, so that it is told when it changes and not every time.
    waiting: String,
}

impl Reporter {
    pub fn new(form: Form, out: Box<dyn Write>) -> Self {
        Self { form, out, began: Instant::now(), step: None, context: None, waiting: String::new() }
    }

    /// Has the commands that cure something reach this cluster.
    #[must_use]
    pub fn in_context(self, context: Option<String>) -> Self {
        Self { context, ..self }
    }

    pub fn step_began(&mut self, name: &str, title: &str) {
        self.step = Some((name.to_owned(), Instant::now()));
        self.waiting.clear();
        match self.form {
            Form::Json => self.object(json!({"event": "step", "step": name, "title": title, "state": "began"})),
            Form::Plain => {}
            Form::Live => self.write(&format!("\r\x1b[2K  … {title}")),
        }
    }

    /// `note` says what there was to do.
    pub fn step_ended(&mut self, title: &str, note: &str) {
        let Some((name, began)) = self.step.take() else { return };
        let took = began.elapsed();
        match self.form {
            Form::Json => self.object(json!({
                "event": "step", "step": name, "title": title, "state": "done", "note": note, "seconds": took.as_secs_f64(),
            })),
            Form::Plain => self.write(&format!("ok   {:>6}  {title}: {note}\n", seconds(took))),
            Form::Live => self.write(&format!("\r\x1b[2K  \x1b[32m✓\x1b[0m {:>6}  {title}: {note}\n", seconds(took))),
        }
    }

    pub fn step_failed(&mut self, title: &str) {
        let Some((name, began)) = self.step.take() else { return };
        let took = began.elapsed();
        match self.form {
            Form::Json => {
                self.object(json!({"event": "step", "step": name, "title": title, "state": "failed", "seconds": took.as_secs_f64()}));
            }
            Form::Plain => self.write(&format!("FAIL {:>6}  {title}\n", seconds(took))),
            Form::Live => self.write(&format!("\r\x1b[2K  \x1b[31m✗\x1b[0m {:>6}  {title}\n", seconds(took))),
        }
    }

    /// What is waited for, and why.
    pub fn waiting(&mut self, reason: &str) {
        let is_new = self.waiting != reason;
        reason.clone_into(&mut self.waiting);
        let elapsed = self.step.as_ref().map_or(Duration::ZERO, |(_, began)| began.elapsed());
        match self.form {
            Form::Json if is_new => {
                self.object(json!({"event": "waiting", "reason": reason, "seconds": elapsed.as_secs_f64()}))
            }
            Form::Plain if is_new => self.write(&format!("     {:>6}  waiting: {reason}\n", seconds(elapsed))),
            Form::Live => self.write(&format!(
                "\r\x1b[2K  … {:>6}  {}",
                seconds(elapsed),
                reason.lines().next().unwrap_or_default()
            )),
            _ => {}
        }
    }

    /// Something that should be known and stops nothing.
    pub fn warn(&mut self, text: &str, cure: &str) {
        let cure = self.context.as_ref().map_or_else(|| cure.to_owned(), |context| hints::in_context(cure, context));
        match self.form {
            Form::Json => self.object(json!({"event": "warning", "text": text, "cure": cure})),
            Form::Plain => self.write(&format!("warn         {text}\n             {cure}\n")),
            Form::Live => self.write(&format!("\r\x1b[2K  \x1b[33m!\x1b[0m {text}\n    {cure}\n")),
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    fn object(&mut self, object: serde_json::Value) {
        self.write(&format!("{object}\n"));
    }

    fn write(&mut self, text: &str) {
        // Whoever reads the progress may go away; the work goes on.
        let _gone = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
    }
}

/// `3.2 s` or `4 m 05 s`.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1} s", time.as_secs_f64()),
        whole => format!("{} m {:02} s", whole / 60, whole % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Kept(Rc<RefCell<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn told(form: Form) -> String {
        let kept = Kept::default();
        let mut reporter = Reporter::new(form, Box::new(kept.clone()));
        reporter.step_began("waves", "Waves");
        for reason in ["mlflow: pulling", "mlflow: pulling", "mlflow: starting"] {
            reporter.waiting(reason);
        }
        reporter.step_ended("Waves", "all healthy");
        let bytes = kept.0.borrow().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_log_has_a_line_for_each_change_and_no_control_characters() {
        let text = told(Form::Plain);
        assert_eq!(text.matches("mlflow: pulling").count(), 1, "{text}");
        assert!(text.contains("waiting: mlflow: starting") && text.contains("Waves: all healthy"), "{text}");
        assert!(!text.contains('\x1b') && !text.contains('\r'), "{text:?}");
    }

    #[test]
    fn programs_get_an_object_a_line() {
        let text = told(Form::Json);
        let objects: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let events: Vec<&str> = objects.iter().map(|object| object["event"].as_str().unwrap()).collect();
        assert_eq!(events, ["step", "waiting", "waiting", "step"]);
        assert_eq!(objects[3]["state"], "done");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(seconds(Duration::from_millis(3_240)), "3.2 s");
        assert_eq!(seconds(Duration::from_secs(245)), "4 m 05 s");
    }
}
