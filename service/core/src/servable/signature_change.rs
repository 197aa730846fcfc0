//! What a new version's signature changes for those who call the live one.

use std::collections::HashMap;
use std::fmt;

use super::{Column, Inputs, Signature, Tensor};
use crate::names::{Version, shown};
use crate::release::{Refusal, RefusalKind, Violation};

/// Types that a caller may keep sending although the column has a wider one now. MLflow converts these and no others
/// (`_enforce_mlflow_datatype` in `mlflow/models/utils.py`, 3.17); tensors are never converted.
const WIDENS: [(&str, &str); 3] = [("integer", "long"), ("float", "double"), ("integer", "double")];

/// The most lines of a diff, and the most inputs of a refusal, that are shown; the rest is counted.
pub const SHOWN_MAX: usize = 50;

/// The difference between two input signatures.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignatureChange {
    /// `- amount: double (required)` and `+ …`: what differs, in the order of the live signature, what is new last.
    pub lines: Vec<String>,
    /// What callers of the live version would run into.
    pub breaks: Vec<Break>,
    /// What cannot be known, where one of the two does not say what it takes.
    pub warning: Option<&'static str>,
}

/// An input whose change breaks callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Break {
    /// The input's name, or its position from 1 on.
    pub input: String,
    /// What is the matter with it, as the end of a sentence about it.
    pub fault: String,
}

/// Compares what the live version takes with what the candidate takes.
///
/// Named inputs are compared by name, whatever their order; unnamed ones by position. Without a live signature nothing is known that
/// could break; without a candidate's nothing can be checked. Both are a warning and no refusal: signatures are optional in MLflow.
pub fn signature_change(live: Option<&Signature>, candidate: Option<&Signature>) -> SignatureChange {
    let live = live.and_then(|signature| signature.inputs.as_ref());
    let candidate = candidate.and_then(|signature| signature.inputs.as_ref());
    let mut change = SignatureChange::default();
    match (live, candidate) {
        (None, None) => {}
        (None, Some(Inputs::Columns(columns))) => compare(&[], columns, &mut change, false),
        (None, Some(Inputs::Tensors(tensors))) => compare(&[], tensors, &mut change, false),
        (Some(Inputs::Columns(live)), Some(Inputs::Columns(columns))) => compare(live, columns, &mut change, true),
        (Some(Inputs::Tensors(live)), Some(Inputs::Tensors(tensors))) => compare(live, tensors, &mut change, true),
        (Some(Inputs::Columns(live)), None) => compare(live, &[], &mut change, false),
        (Some(Inputs::Tensors(live)), None) => compare(live, &[], &mut change, false),
        (Some(Inputs::Columns(live)), Some(Inputs::Tensors(tensors))) => {
            compare(live, &[], &mut change, true);
            compare(&[], tensors, &mut change, true);
        }
        (Some(Inputs::Tensors(live)), Some(Inputs::Columns(columns))) => {
            compare(live, &[], &mut change, true);
            compare(&[], columns, &mut change, true);
        }
    }
    change.warning = match (live, candidate) {
        (Some(_), None) => {
            Some("it has no input signature, so nothing says that it takes what callers of the live version send")
        }
        (None, Some(_)) => {
            Some("it is not known what callers of the live version send, so nothing says whether it breaks them")
        }
        _ => None,
    };
    change.shorten();
    change
}

impl SignatureChange {
    /// Whether those who call the live version could not call the candidate as they do.
    pub fn breaks_callers(&self) -> bool {
        !self.breaks.is_empty()
    }

    /// Why a candidate is not released in the live version's place; none where it breaks nobody.
    pub fn refusal(&self, live: &Version, candidate: &Version) -> Option<Refusal> {
        let first = self.breaks.first()?;
        let more = match self.breaks.len() - 1 {
            0 => String::new(),
            1 => ", and one more input".to_owned(),
            n => format!(", and {n} more inputs"),
        };
        let violation =
            |Break { input, fault }: &Break| Violation { field: format!("signature.{input}"), detail: fault.clone() };
        Some(Refusal {
            kind: RefusalKind::Invalid,
            reason: format!(
                "version {candidate} breaks callers of the live version {live}: the input `{}` {}{more}",
                first.input, first.fault
            ),
            cure: Some(
                "log it again with a signature that takes what the live one takes (new columns optional), or send \
                 `allowBreakingSignature: true` once every caller is ready"
                    .to_owned(),
            ),
            violations: self.breaks.iter().take(SHOWN_MAX).map(violation).collect(),
        })
    }

    /// Keeps what fits a page.
    fn shorten(&mut self) {
        let more = self.lines.len().saturating_sub(SHOWN_MAX);
        if more > 0 {
            self.lines.truncate(SHOWN_MAX);
            self.lines.push(format!("… and {more} more"));
        }
    }
}

/// An input of either sort.
trait Input: fmt::Display + PartialEq {
    fn name(&self) -> Option<&str>;

    /// What a caller that sends this input runs into at `new`; none where it does not matter.
    fn fault_at(&self, new: &Self) -> Option<String>;

    /// Whether a caller that does not know it can leave it out.
    fn may_be_left_out(&self) -> bool;
}

impl Input for Column {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn fault_at(&self, new: &Self) -> Option<String> {
        let widens = self.kind.as_str().zip(new.kind.as_str()).is_some_and(|pair| WIDENS.contains(&pair));
        if self.kind != new.kind && !widens {
            return Some(format!("has another type: `{self}` became `{new}`"));
        }
        (!self.required && new.required).then(|| "was optional and is required".to_owned())
    }

    fn may_be_left_out(&self) -> bool {
        !self.required
    }
}

impl Input for Tensor {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    fn fault_at(&self, new: &Self) -> Option<String> {
        let same = self.dtype == new.dtype && self.shape == new.shape;
        (!same).then(|| format!("has another element type or shape: `{self}` became `{new}`"))
    }

    fn may_be_left_out(&self) -> bool {
        false
    }
}

/// By what an input is found again: its name and the how-manieth of that name it is, or its position.
type Key<'a> = (Option<&'a str>, usize);

/// Adds what differs; `counts` says whether a difference can break somebody.
fn compare<T: Input>(live: &[T], candidate: &[T], change: &mut SignatureChange, counts: bool) {
    let known: HashMap<Key<'_>, &T> = keyed(live).into_iter().collect();
    let new = keyed(candidate);
    let by_key: HashMap<Key<'_>, &T> = new.iter().copied().collect();
    let mut breaks = Vec::new();
    for (key, was) in keyed(live) {
        let is = by_key.get(&key).copied();
        if is == Some(was) {
            continue;
        }
        change.lines.push(format!("- {}: {was}", called(key)));
        let fault = match is {
            None => Some(format!("is gone: `{was}`")),
            Some(is) => {
                change.lines.push(format!("+ {}: {is}", called(key)));
                was.fault_at(is)
            }
        };
        breaks.extend(fault.map(|fault| Break { input: called(key), fault }));
    }
    for (key, is) in new.into_iter().filter(|(key, _)| !known.contains_key(key)) {
        change.lines.push(format!("+ {}: {is}", called(key)));
        if !is.may_be_left_out() {
            breaks.push(Break { input: called(key), fault: format!("is new and required: `{is}`") });
        }
    }
    if counts {
        change.breaks.extend(breaks);
    }
}

fn keyed<T: Input>(inputs: &[T]) -> Vec<(Key<'_>, &T)> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let mut found = Vec::with_capacity(inputs.len());
    for (position, input) in inputs.iter().enumerate() {
        let name = input.name();
        let nth = match name {
            Some(name) => {
                let times = seen.entry(name).or_default();
                *times += 1;
                *times
            }
            None => position + 1,
        };
        found.push(((name, nth), input));
    }
    found
}

/// What an input is called in a sentence.
fn called((name, n): Key<'_>) -> String {
    name.map_or_else(|| format!("number {n}"), shown)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::servable::MlModel;

    /// `amount: double`, `city: string?` (optional), `: long` (unnamed).
    fn columns(written: &str) -> Signature {
        let column = |text: &str| {
            let (name, kind) = text.trim().split_once(':').unwrap();
            let kind = kind.trim();
            Column {
                name: Some(name.to_owned()).filter(|name| !name.is_empty()),
                kind: json!(kind.trim_end_matches('?')),
                required: !kind.ends_with('?'),
            }
        };
        Signature { inputs: Some(Inputs::Columns(written.split(',').map(column).collect())) }
    }

    fn tensor(dtype: &str, shape: &[i64]) -> Signature {
        Signature {
            inputs: Some(Inputs::Tensors(vec![Tensor { name: None, dtype: dtype.to_owned(), shape: shape.to_vec() }])),
        }
    }

    fn version(number: &str) -> Version {
        Version::parse(number).unwrap()
    }

    #[test]
    fn what_callers_need_not_know_passes() {
        for (live, candidate) in [
            ("a: double", "a: double"),
            ("a: double, b: long", "b: long, a: double"),
            ("a: double", "a: double, b: string?"),
            ("a: double", "a: double?"),
            ("a: integer", "a: long"),
            ("a: float", "a: double"),
            ("a: integer", "a: double"),
            (": double, : long", ": double, : long"),
        ] {
            let change = signature_change(Some(&columns(live)), Some(&columns(candidate)));
            assert!(!change.breaks_callers() && change.warning.is_none(), "{live} → {candidate}: {change:?}");
            assert_eq!(change.refusal(&version("7"), &version("8")), None);
        }
    }

    #[test]
    fn what_breaks_callers_is_refused_by_what_it_does() {
        for (live, candidate, fault) in [
            ("a: double", "a: double, b: long", "`b` is new and required: `long (required)`"),
            ("a: double, b: long", "a: double", "`b` is gone: `long (required)`"),
            ("a: double, b: long?", "a: double", "`b` is gone: `long (optional)`"),
            ("a: double", "a: string", "`a` has another type: `double (required)` became `string (required)`"),
            ("a: long", "a: integer", "`a` has another type"),
            ("a: long", "a: double", "`a` has another type"),
            ("a: integer", "a: float", "`a` has another type"),
            ("a: double", "a: float", "`a` has another type"),
            ("a: double?", "a: double", "`a` was optional and is required"),
            ("a: double", "A: double", "`a` is gone"),
            (": double, : long", ": long, : double", "`number 1` has another type"),
            (": double", ": double, : long", "`number 2` is new and required"),
        ] {
            let change = signature_change(Some(&columns(live)), Some(&columns(candidate)));
            let refusal = change.refusal(&version("7"), &version("8")).unwrap();
            assert!(refusal.reason.contains(fault), "{live} → {candidate}: {}", refusal.reason);
            assert!(
                refusal.reason.starts_with("version 8 breaks callers of the live version 7: "),
                "{}",
                refusal.reason
            );
            assert!(refusal.cure.unwrap().contains("`allowBreakingSignature: true`"));
            assert!(refusal.violations[0].field.starts_with("signature."));
        }
    }

    #[test]
    fn a_tensor_of_another_type_or_shape_breaks() {
        let live = tensor("float64", &[-1, 4]);
        assert!(!signature_change(Some(&live), Some(&live)).breaks_callers());
        for candidate in
            [tensor("float32", &[-1, 4]), tensor("float64", &[-1, 5]), tensor("float64", &[4]), columns("a: double")]
        {
            let change = signature_change(Some(&live), Some(&candidate));
            assert!(change.breaks_callers(), "{candidate:?}");
            assert_eq!(change.lines[0], "- number 1: tensor of float64 [-1, 4]");
            assert!(signature_change(Some(&candidate), Some(&live)).breaks_callers());
        }
    }

    #[test]
    fn the_diff_shows_both_sides_and_nothing_that_stays() {
        let live = columns("a: double, b: long, c: string");
        let candidate = columns("c: string, d: boolean?, a: string");
        let change = signature_change(Some(&live), Some(&candidate));
        assert_eq!(
            change.lines,
            ["- a: double (required)", "+ a: string (required)", "- b: long (required)", "+ d: boolean (optional)"]
        );
        let refusal = change.refusal(&version("7"), &version("8")).unwrap();
        assert!(refusal.reason.ends_with(", and one more input"), "{}", refusal.reason);
        assert_eq!(refusal.violations.len(), 2);
    }

    #[test]
    fn a_missing_signature_warns_or_passes_and_never_refuses() {
        let some = columns("a: double");
        let silent = Signature { inputs: None };
        for none in [None, Some(&silent)] {
            let from = signature_change(none, Some(&some));
            assert!(
                !from.breaks_callers() && from.warning.is_some_and(|warning| warning.contains("not known")),
                "{from:?}"
            );
            let to = signature_change(Some(&some), none);
            assert!(
                !to.breaks_callers() && to.warning.is_some_and(|warning| warning.contains("no input signature")),
                "{to:?}"
            );
            assert_eq!(to.lines, ["- a: double (required)"]);
            assert_eq!(signature_change(none, none), SignatureChange::default());
        }
    }

    #[test]
    fn a_nested_type_is_compared_whole_and_in_any_order() {
        let of = |kind: serde_json::Value| Signature {
            inputs: Some(Inputs::Columns(vec![Column { name: Some("x".to_owned()), kind, required: true }])),
        };
        let one = of(json!({"type": "object", "properties": {"a": {"type": "long"}, "b": {"type": "long"}}}));
        let same = of(json!({"properties": {"b": {"type": "long"}, "a": {"type": "long"}}, "type": "object"}));
        let other = of(json!({"type": "object", "properties": {"a": {"type": "long"}}}));
        assert!(!signature_change(Some(&one), Some(&same)).breaks_callers());
        assert!(signature_change(Some(&one), Some(&other)).breaks_callers());
    }

    #[test]
    fn thousands_of_columns_make_a_short_answer() {
        let names: Vec<String> = (0..5_000).map(|n| format!("c{n}: double")).collect();
        let change = signature_change(Some(&columns(&names.join(","))), Some(&columns("x: double?")));
        assert_eq!(change.lines.len(), SHOWN_MAX + 1);
        assert_eq!(change.lines[SHOWN_MAX], "… and 4951 more");
        let refusal = change.refusal(&version("7"), &version("8")).unwrap();
        assert!(refusal.reason.ends_with(", and 4999 more inputs"), "{}", refusal.reason);
        assert_eq!(refusal.violations.len(), SHOWN_MAX);
    }

    #[test]
    fn real_signatures_do_not_break_themselves() {
        for text in [
            include_str!("samples/skops.yaml"),
            include_str!("samples/pyfunc.yaml"),
            include_str!("samples/tensor.yaml"),
        ] {
            let signature = MlModel::parse(text.as_bytes()).unwrap().signature;
            assert_eq!(signature_change(signature.as_ref(), signature.as_ref()), SignatureChange::default());
        }
    }

    fn column() -> impl Strategy<Value = Column> {
        let kind = prop_oneof![
            Just(json!("double")),
            Just(json!("long")),
            Just(json!({"type": "array", "items": {"type": "long"}}))
        ];
        (proptest::option::of("[abü]{0,2}"), kind, any::<bool>()).prop_map(|(name, kind, required)| Column {
            name,
            kind,
            required,
        })
    }

    proptest! {
        #[test]
        fn a_signature_never_breaks_itself_and_optional_columns_never_break_it(
            columns in proptest::collection::vec(column(), 0..8),
            extra in proptest::collection::vec("[xyz]{1,3}", 0..4),
        ) {
            let live = Signature { inputs: Some(Inputs::Columns(columns.clone())) };
            prop_assert_eq!(signature_change(Some(&live), Some(&live)), SignatureChange::default());
            let added = extra.into_iter().map(|name| Column { name: Some(name), kind: json!("double"), required: false });
            let wider = Signature { inputs: Some(Inputs::Columns(columns.into_iter().chain(added).collect())) };
            prop_assert!(!signature_change(Some(&live), Some(&wider)).breaks_callers());
        }

        #[test]
        fn whatever_is_removed_breaks(columns in proptest::collection::vec(column(), 1..8), at in 0..8_usize) {
            let at = at % columns.len();
            let live = Signature { inputs: Some(Inputs::Columns(columns.clone())) };
            let mut fewer = columns;
            fewer.remove(at);
            let fewer = Signature { inputs: Some(Inputs::Columns(fewer)) };
            prop_assert!(signature_change(Some(&live), Some(&fewer)).breaks_callers());
        }
    }
}
