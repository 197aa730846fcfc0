//! What the API answers, as text for a person. Pure: JSON and the present moment in, text out.

use jiff::Timestamp;
use serde_json::Value;

use super::table::{Cell, Table, Tone, facts, plain};
use crate::bounds::SHORT_COMMIT_DIGITS;

/// The text at a JSON pointer, empty where there is none; numbers and booleans as they are written.
pub(super) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(flag)) => flag.to_string(),
        _ => String::new(),
    }
}

/// The entries of a list, or of its `items`.
pub(super) fn items(value: &Value) -> &[Value] {
    let list = value.get("items").unwrap_or(value);
    list.as_array().map_or(&[], Vec::as_slice)
}

/// `environment/namespace/name` of a release.
pub(super) fn key(release: &Value) -> String {
    ["environment", "namespace", "name"].map(|part| text(release, &format!("/metadata/{part}"))).join("/")
}

/// The first digits of the commit at a pointer.
pub(super) fn commit(value: &Value, pointer: &str) -> String {
    text(value, pointer).chars().take(SHORT_COMMIT_DIGITS).collect()
}

/// How long ago something was, in its largest unit.
pub(super) fn age(value: &Value, pointer: &str, now: Timestamp) -> String {
    let Ok(at) = text(value, pointer).parse::<Timestamp>() else { return String::new() };
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Who gets how much of the traffic: `v7 95% · v8 5%`, `v7 100% · v8 mirrors 20%`.
pub(super) fn split(release: &Value) -> String {
    let share = |share: &Value| {
        let (predictor, weight, mirror) = (text(share, "/predictor"), text(share, "/weight"), text(share, "/mirror"));
        match (weight.as_str(), mirror.as_str()) {
            ("0", "0" | "") => format!("{predictor} idle"),
            ("0", mirror) => format!("{predictor} mirrors {mirror}%"),
            (weight, _) => format!("{predictor} {weight}%"),
        }
    };
    let shares = release.get("split").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    shares.iter().map(share).collect::<Vec<_>>().join(" · ")
}

/// The phase, with the step of a canary that runs and a pause.
pub(super) fn phase(release: &Value) -> Cell {
    let phase = text(release, "/rollout/phase");
    let steps = release.pointer("/spec/canary/steps").and_then(Value::as_array).map_or(0, Vec::len);
    let step = release.pointer("/rollout/step").and_then(Value::as_u64);
    let mut shown = match step {
        Some(step) if phase == "running" && steps > 0 => format!("{phase} {}/{steps}", step + 1),
        _ => phase.clone(),
    };
    let paused = release.pointer("/rollout/paused").is_some_and(|paused| !paused.is_null());
    if paused {
        shown.push_str(", paused");
    }
    let tone = match phase.as_str() {
        _ if paused => Tone::Warn,
        "settled" => Tone::Good,
        "" => Tone::Plain,
        _ => Tone::Warn,
    };
    Cell::new(&shown, tone)
}

/// The table of releases.
pub(super) fn releases(list: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(&[
        "NAME",
        "NAMESPACE",
        "ENVIRONMENT",
        "MODEL",
        "STRATEGY",
        "PHASE",
        "SPLIT",
        "STATUS",
        "FILES",
        "COMMIT",
        "AGE",
    ]);
    for release in list {
        table.row([
            Cell::new(&text(release, "/metadata/name"), Tone::Strong),
            text(release, "/metadata/namespace").into(),
            text(release, "/metadata/environment").into(),
            text(release, "/spec/model").into(),
            text(release, "/spec/strategy").into(),
            phase(release),
            split(release).into(),
            status(release),
            Cell::new(&words(release.get("files")), Tone::Warn),
            Cell::new(&commit(release, "/commit"), Tone::Dim),
            age(release, "/changedAt", now).into(),
        ]);
    }
    table
}

/// One release in full.
pub(super) fn release(release: &Value, now: Timestamp, color: bool) -> String {
    let status_reason = text(release, "/status/reason");
    let paused_by = text(release, "/rollout/paused/by");
    let mut out = facts(
        &[
            ("release", Cell::new(&key(release), Tone::Strong)),
            ("model", text(release, "/spec/model").into()),
            ("strategy", text(release, "/spec/strategy").into()),
            ("phase", phase(release)),
            ("paused by", paused_by.into()),
            ("waits for", Cell::new(&text(release, "/waitsFor"), Tone::Warn)),
            ("queued", Cell::new(&queued(release), Tone::Warn)),
            ("next step", text(release, "/nextAt").into()),
            ("last run", text(release, "/rollout/outcome").into()),
            ("status", status(release)),
            ("because", status_reason.into()),
            ("cure", text(release, "/status/cure").into()),
            ("files", Cell::new(&words(release.get("files")), Tone::Warn)),
            ("notes", Cell::new(&words(release.get("notes")), Tone::Warn)),
            ("endpoint", text(release, "/endpoint").into()),
            ("commit", text(release, "/commit").into()),
            ("changed", format!("{} ago", age(release, "/changedAt", now)).into()),
            ("asked by", text(release, "/origin/requestedBy").into()),
            ("policy", text(release, "/origin/policy").into()),
            ("rejected", rejected(release).into()),
        ],
        color,
    );
    out.push('\n');
    out.push_str(&variants(release).to_text(color));
    out
}

/// The request that is queued for a release.
fn queued(release: &Value) -> String {
    match text(release, "/waiting/number") {
        number if number.is_empty() => String::new(),
        number => format!("delivery #{number} waits for: {}", text(release, "/waiting/waitsFor")),
    }
}

/// One line that says where a release stands.
pub(super) fn standing(release: &Value) -> String {
    let (strategy, split) = (text(release, "/spec/strategy"), split(release));
    let paused =
        if release.pointer("/rollout/paused").is_some_and(|paused| !paused.is_null()) { ", paused" } else { "" };
    plain(&format!("{strategy}, {}{paused}: {split}", text(release, "/rollout/phase")))
}

/// The table of a release's commits.
pub(super) fn history(list: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(&["COMMIT", "AGE", "ACTION", "WHAT", "STRATEGY", "PHASE", "BY"]);
    let asked_by = |entry: &Value| Some(text(entry, "/requestedBy")).filter(|by| !by.is_empty());
    for entry in list {
        let id = text(entry, "/deliveryId");
        // What follows from a request by itself was asked for by whoever made it.
        let is_of_it = |other: &&Value| !id.is_empty() && text(other, "/deliveryId") == id;
        let by = asked_by(entry).or_else(|| list.iter().filter(is_of_it).find_map(asked_by));
        let delivery = || match (text(entry, "/deliveryNumber"), text(entry, "/deliveryId")) {
            (number, _) if !number.is_empty() => format!("delivery #{number}"),
            (_, id) if id.is_empty() => "by itself".to_owned(),
            (_, id) => format!("delivery {id}"),
        };
        table.row([
            Cell::new(&commit(entry, "/commit"), Tone::Dim),
            age(entry, "/at", now).into(),
            Cell::new(entry["action"].as_str().unwrap_or("by hand"), Tone::Strong),
            text(entry, "/summary").into(),
            text(entry, "/strategy").into(),
            text(entry, "/phase").into(),
            by.unwrap_or_else(delivery).into(),
        ]);
    }
    table
}

/// The table of deliveries.
pub(super) fn deliveries(list: &[Value], now: Timestamp) -> Table {
    let mut table = Table::new(&["NUMBER", "SOURCE", "ID", "AGE", "STATE", "RELEASE", "COMMIT", "WHY"]);
    for delivery in list {
        table.row([
            text(delivery, "/number").into(),
            text(delivery, "/source").into(),
            text(delivery, "/id").into(),
            age(delivery, "/receivedAt", now).into(),
            delivery_state(delivery),
            text(delivery, "/release").into(),
            Cell::new(&commit(delivery, "/commit"), Tone::Dim),
            why(delivery).into(),
        ]);
    }
    table
}

/// How much of an event is shown to a person: a tag of MLflow may have 100,000 characters.
const EVENT_CHARS_MAX: usize = 1_000;

/// One delivery in full.
pub(super) fn delivery(delivery: &Value, color: bool) -> String {
    let event = delivery.get("event").filter(|event| !event.is_null()).map(Value::to_string).unwrap_or_default();
    let event = match event.char_indices().nth(EVENT_CHARS_MAX) {
        Some((at, _)) => format!("{}… (`-o json` has all of it)", &event[..at]),
        None => event,
    };
    facts(
        &[
            ("delivery", Cell::new(&text(delivery, "/id"), Tone::Strong)),
            ("number", text(delivery, "/number").into()),
            ("source", text(delivery, "/source").into()),
            ("received", text(delivery, "/receivedAt").into()),
            ("state", delivery_state(delivery)),
            ("release", text(delivery, "/release").into()),
            ("commit", text(delivery, "/commit").into()),
            ("reason", text(delivery, "/reason").into()),
            ("cure", text(delivery, "/cure").into()),
            ("waits for", text(delivery, "/waitsFor").into()),
            ("attempt", text(delivery, "/attempt").into()),
            ("next attempt", text(delivery, "/nextAttemptAt").into()),
            ("event", event.into()),
        ],
        color,
    )
}

/// The state of a delivery, in its colour.
pub(super) fn delivery_state(delivery: &Value) -> Cell {
    let state = text(delivery, "/state");
    let tone = match state.as_str() {
        "applied" => Tone::Good,
        "refused" | "failed" => Tone::Bad,
        "accepted" => Tone::Warn,
        _ => Tone::Dim,
    };
    Cell::new(&state, tone)
}

/// A unified diff, coloured by line.
pub(super) fn diff(text: &str, color: bool) -> String {
    let paint = |line: &str| {
        let tone = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => Tone::Strong,
            [b'+', ..] => Tone::Good,
            [b'-', ..] => Tone::Bad,
            [b'@', ..] => Tone::Dim,
            _ => Tone::Plain,
        };
        format!("{}\n", tone.paint(line, color))
    };
    text.lines().map(paint).collect()
}

/// The words of a list, joined.
pub(super) fn words(list: Option<&Value>) -> String {
    let list = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

fn status(release: &Value) -> Cell {
    let state = text(release, "/status/state");
    let tone = match state.as_str() {
        "live" => Tone::Good,
        "degraded" | "stalled" => Tone::Bad,
        "unknown" => Tone::Dim,
        _ => Tone::Warn,
    };
    Cell::new(&state, tone)
}

fn why(delivery: &Value) -> String {
    let (reason, waits_for) = (text(delivery, "/reason"), text(delivery, "/waitsFor"));
    if reason.is_empty() && !waits_for.is_empty() { format!("waits: {waits_for}") } else { reason }
}

fn rejected(release: &Value) -> String {
    let list = release.pointer("/rollout/rejected").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter()
        .map(|entry| format!("version {} ({})", text(entry, "/version"), text(entry, "/reason")))
        .collect::<Vec<_>>()
        .join(", ")
}

fn variants(release: &Value) -> Table {
    let mut table = Table::new(&["ROLE", "VERSION", "PREDICTOR", "TRAFFIC", "MIRRORED", "SERVES"]);
    let shares = release.get("split").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    for variant in release.pointer("/spec/variants").and_then(Value::as_array).map_or(&[][..], Vec::as_slice) {
        let predictor = text(variant, "/predictor");
        let share = shares.iter().find(|share| text(share, "/predictor") == predictor);
        let percent = |field: &str| {
            share.map(|share| text(share, field)).filter(|n| n != "0" && !n.is_empty()).map(|n| format!("{n}%"))
        };
        let serves = ["/image", "/modelUri"].map(|field| text(variant, field)).concat();
        let serves = if text(variant, "/unpinned") == "true" { format!("{serves} (unpinned)") } else { serves };
        table.row([
            text(variant, "/role").into(),
            text(variant, "/version").into(),
            predictor.as_str().into(),
            percent("/weight").unwrap_or_default().into(),
            percent("/mirror").unwrap_or_default().into(),
            serves.into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn now() -> Timestamp {
        "2026-11-23T10:00:00Z".parse().unwrap()
    }

    fn canary() -> Value {
        json!({
            "metadata": {"environment": "production", "namespace": "models", "name": "fraud"},
            "spec": {"model": "fraud-detector", "strategy": "canary", "canary": {"steps": [{"weight": 5}, {"weight": 50}]}, "variants": [
                {"role": "stable", "version": "7", "predictor": "v7", "image": "registry.example/fraud:7"},
                {"role": "candidate", "version": "8", "predictor": "v8", "modelUri": "s3://models/8"},
            ]},
            "rollout": {"phase": "running", "step": 0},
            "status": {"state": "unknown", "reason": "no cluster configured"},
            "split": [{"predictor": "v7", "weight": 95, "mirror": 0}, {"predictor": "v8", "weight": 5, "mirror": 0}],
            "commit": "0123456789abcdef0123456789abcdef01234567",
            "changedAt": "2026-11-23T09:58:30Z",
            "files": [], "notes": ["`rollout` was edited by hand"],
            "endpoint": "http://fraud-models.k5w.localhost",
        })
    }

    #[test]
    fn a_long_event_is_cut_for_a_person() {
        let shown = |value: String| delivery(&json!({"id": "a", "event": {"value": value}}), false);
        let long = shown("ö".repeat(EVENT_CHARS_MAX));
        assert!(long.contains("…") && long.contains("-o json") && long.chars().count() < EVENT_CHARS_MAX + 200);
        assert!(!shown("ö".into()).contains("-o json"));
    }

    #[test]
    fn a_release_is_one_row_with_its_split_phase_and_commit() {
        let text = releases(&[canary()], now()).to_text(false);
        assert_eq!(
            text,
            "NAME    NAMESPACE   ENVIRONMENT   MODEL            STRATEGY   PHASE         SPLIT            STATUS    COMMIT    AGE\n\
             fraud   models      production    fraud-detector   canary     running 1/2   v7 95% · v8 5%   unknown   0123456   1m\n"
        );
    }

    #[test]
    fn a_release_in_full_shows_what_a_person_looks_for() {
        let text = release(&canary(), now(), false);
        for part in [
            "production/models/fraud",
            "running 1/2",
            "no cluster configured",
            "http://fraud-models.k5w.localhost",
            "1m ago",
            "edited by hand",
            "s3://models/8",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn a_queued_request_and_what_it_waits_for_show() {
        let mut queued = canary();
        queued["waiting"] = json!({"delivery": "0190", "number": 12, "waitsFor": "v7 is not ready"});
        let text = release(&queued, now(), false);
        assert!(text.contains("delivery #12 waits for: v7 is not ready"), "{text}");
        assert!(!release(&canary(), now(), false).contains("queued"));
    }

    #[test]
    fn who_caused_a_commit_is_a_person_or_a_delivery_by_its_number() {
        let entry = |by: Value| {
            let mut entry = json!({"commit": "0123456789", "at": "2026-11-23T09:58:30Z", "action": "create", "deliveryId": "0190aaaa-1"});
            entry["requestedBy"] = by["by"].clone();
            entry["deliveryNumber"] = by["number"].clone();
            history(&[entry], now()).to_text(false)
        };
        assert!(entry(json!({"by": "ada"})).contains("ada"));
        assert!(entry(json!({"number": 12})).contains("delivery #12"));
        assert!(entry(json!({})).contains("delivery 0190aaaa-1"), "one that the inbox forgot keeps its id");
    }

    #[test]
    fn commits_of_one_request_name_who_asked_and_later_steps_come_by_themselves() {
        let entry = |action: &str, by: Option<&str>, id: Option<&str>| json!({"commit": "0123456789", "at": "2026-11-23T09:58:30Z", "action": action, "requestedBy": by, "deliveryId": id, "deliveryNumber": id.map(|_| 35)});
        let list = [
            entry("promote", None, None),
            entry("step", None, Some("0190")),
            entry("enter", Some("admin"), Some("0190")),
            entry("create", None, Some("0188")),
        ];
        let text = history(&list, now()).to_text(false);
        let by: Vec<&str> = text.lines().skip(1).map(|line| line.rsplit("   ").next().unwrap().trim()).collect();
        assert_eq!(by, ["by itself", "admin", "admin", "delivery #35"], "{text}");
    }

    #[test]
    fn mirrored_and_idle_variants_are_told_from_those_that_answer() {
        let shadow = json!({"split": [{"predictor": "v1", "weight": 100, "mirror": 0}, {"predictor": "v2", "weight": 0, "mirror": 20}, {"predictor": "v3", "weight": 0, "mirror": 0}]});
        assert_eq!(split(&shadow), "v1 100% · v2 mirrors 20% · v3 idle");
    }

    #[test]
    fn an_age_is_in_its_largest_unit() {
        for (at, shown) in [
            ("2026-11-23T09:59:59Z", "1s"),
            ("2026-11-23T09:00:00Z", "1h"),
            ("2026-11-20T09:00:00Z", "3d"),
            ("2026-11-23T10:00:09Z", "0s"),
            ("", ""),
        ] {
            assert_eq!(age(&json!({"at": at}), "/at", now()), shown, "{at}");
        }
    }

    #[test]
    fn a_delivery_that_waits_says_for_what() {
        let list =
            [json!({"number": 3, "source": "mlflow", "id": "abc", "state": "accepted", "waitsFor": "v7 is not ready"})];
        assert!(deliveries(&list, now()).to_text(false).contains("waits: v7 is not ready"));
    }
}
