//! `kmlflow release`: what is wanted, as a request to the API; the service works out the rest from what is deployed.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use indexmap::IndexMap;
use reqwest::Method;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use super::args::{ByHand, Place, Waiting, arm, pair, percent};
use super::client::Call;
use super::error::{CliError, Exit};
use super::{Context, change, usage};
use crate::names::{ModelName, Version};
use crate::release::{Period, ReleaseRequest, Strategy};

/// The most bytes of a file that is sent: the API's own bound.
const FILE_BYTES_MAX: u64 = crate::bounds::BODY_BYTES_MAX as u64;

/// Create or change a release.
#[derive(Debug, Args)]
#[command(after_help = usage::RELEASE)]
pub(super) struct ReleaseArgs {
    #[command(flatten)]
    place: Place,
    /// The registered model in MLflow.
    #[arg(long, required_unless_present = "file", value_name = "M")]
    model: Option<ModelName>,
    /// Its version.
    #[arg(long, required_unless_present = "file", value_name = "V")]
    version: Option<Version>,
    /// How it comes to serve: single, canary, ab, blue-green or shadow.
    #[arg(long, value_name = "S")]
    strategy: Option<Strategy>,
    /// The version that must be deployed, or it is a conflict.
    #[arg(long, value_name = "V")]
    baseline: Option<Version>,
    /// canary: weights in percent, each with a pause or waiting for a person: 5:10m,25:30m,50.
    #[arg(long, value_delimiter = ',', value_parser = step, value_name = "STEPS")]
    steps: Option<Vec<Value>>,
    /// ab: percent per arm, together 100: a=70,b=30.
    #[arg(long, value_delimiter = ',', value_parser = pair, value_name = "WEIGHTS")]
    weights: Option<Vec<(String, String)>>,
    /// ab: requests with this header go to one arm; can be given more than once.
    #[arg(long = "match", value_parser = header_match, value_name = "HEADER=VALUE:VARIANT")]
    matches: Vec<Value>,
    /// shadow: the mirrored percentage.
    #[arg(long, value_name = "N", value_parser = percent)]
    percent: Option<u8>,
    /// blue-green: how long the colour left behind is kept.
    #[arg(long, value_name = "D")]
    scale_down_delay: Option<Period>,
    /// The container image that serves the version; its tag `serving_image`, else the policy's `defaults.image`, unless given.
    #[arg(long, value_name = "REF", conflicts_with = "model_uri")]
    image: Option<String>,
    /// The artifact, for a runtime to load.
    #[arg(long, value_name = "URI")]
    model_uri: Option<String>,
    /// Release the version also where its input signature breaks those who call the version that serves.
    #[arg(long)]
    allow_breaking_signature: bool,
    /// A request, a spec or a whole release as YAML or JSON; options given beside it override a request's fields.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by_hand: ByHand,
    #[command(flatten)]
    waiting: Waiting,
}

/// Asks for a release.
pub(super) async fn run(args: ReleaseArgs, ctx: &Context) -> Result<Exit, CliError> {
    let body = request(&args)?;
    let ReleaseArgs { place, dry_run, by_hand, waiting, .. } = args;
    let path = place.path(&[]);
    let call = by_hand.on(Call::new(Method::PUT, &path).body(body).flag("dryRun", dry_run));
    if dry_run {
        let reply = ctx.client.call(call).await?;
        return change::show_preview(&reply, ctx);
    }
    change::change(call, &waiting, ctx).await
}

/// The body of the request: the file's, with the options over it.
fn request(args: &ReleaseArgs) -> Result<Value, CliError> {
    let mut body = match &args.file {
        Some(path) => read(path)?,
        None => Map::new(),
    };
    // A bare `spec` is a whole release as well.
    if body.contains_key("variants") {
        body = Map::from_iter([("spec".to_owned(), Value::Object(body))]);
    }
    let whole = body.contains_key("spec");
    let options = options(args)?;
    if whole && !options.is_empty() {
        let names: Vec<&str> = options.keys().map(String::as_str).collect();
        return Err(CliError::usage(format!(
            "the file is a whole release, so `{}` cannot be given beside it",
            names.join("`, `")
        ))
        .hint("change the file, or give a request such as {\"model\": …, \"version\": …}"));
    }
    body.extend(options);
    let body = Value::Object(body);
    if args.file.is_none() {
        check(&body)?;
    }
    Ok(body)
}

/// Refuses what can be seen to be wrong before a service is asked. A file is the service's to judge, which may know more fields than this program.
fn check(body: &Value) -> Result<(), CliError> {
    let request = ReleaseRequest::deserialize(body).map_err(|error| CliError::usage(error.to_string()))?;
    request.wanted()?;
    Ok(())
}

/// The options as fields of a request.
fn options(args: &ReleaseArgs) -> Result<Map<String, Value>, CliError> {
    let ReleaseArgs {
        model,
        version,
        strategy,
        baseline,
        steps,
        weights,
        matches,
        percent,
        scale_down_delay,
        image,
        model_uri,
        allow_breaking_signature,
        ..
    } = args;
    let mut fields = Map::new();
    let mut set = |name: &str, value: Option<Value>| fields.extend(value.map(|value| (name.to_owned(), value)));
    set("model", model.as_ref().map(|model| json!(model)));
    set("version", version.as_ref().map(|version| json!(version)));
    set("strategy", strategy.map(|strategy| json!(strategy)));
    set("baseline", baseline.as_ref().map(|version| json!(version)));
    set("steps", steps.as_ref().map(|steps| json!(steps)));
    set("weights", weights.as_deref().map(percentages).transpose()?);
    set("match", (!matches.is_empty()).then(|| json!(matches)));
    set("percent", percent.map(|percent| json!(percent)));
    set("allowBreakingSignature", allow_breaking_signature.then(|| json!(true)));
    set("scaleDownDelay", scale_down_delay.map(|delay| json!(delay)));
    set("image", image.as_ref().map(|image| json!(image)));
    set("modelUri", model_uri.as_ref().map(|uri| json!(uri)));
    Ok(fields)
}

/// Percentages by arm as the API takes them.
pub(super) fn percentages(pairs: &[(String, String)]) -> Result<Value, CliError> {
    let wrong = |what: &str, rule: String| {
        CliError::usage(format!("`{}` {rule}", crate::names::shown(what))).hint("write weights like a=70,b=30")
    };
    let share = |(name, text): &(String, String)| {
        Ok((arm(name).map_err(|rule| wrong(name, rule))?, percent(text).map_err(|rule| wrong(text, rule))?))
    };
    let weights = pairs.iter().map(share).collect::<Result<IndexMap<String, u8>, CliError>>()?;
    if weights.len() < pairs.len() {
        return Err(CliError::usage("an arm has two weights").hint("write weights like a=70,b=30"));
    }
    Ok(json!(weights))
}

fn read(path: &Path) -> Result<Map<String, Value>, CliError> {
    let mut text = String::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
    };
    let length = read.map_err(|error| CliError::file(path, &error).as_usage())?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(CliError::usage(format!("{} is longer than 1 MiB", path.display())));
    }
    let parsed: Value = serde_yaml::from_str(&text)
        .map_err(|error| CliError::usage(format!("`{}` is neither YAML nor JSON: {error}", path.display())))?;
    match parsed {
        Value::Object(fields) => Ok(fields),
        _ => Err(CliError::usage(format!("{} is not a request: it has no fields", path.display()))
            .hint("see `kmlflow release --help`")),
    }
}

fn step(text: &str) -> Result<Value, String> {
    let (weight, pause) = text.split_once(':').map_or((text, None), |(weight, pause)| (weight, Some(pause)));
    let weight: u8 =
        weight.parse().map_err(|_| "must be percent, alone or with a pause, such as 5 or 5:10m".to_owned())?;
    match pause {
        None => Ok(json!(weight)),
        Some(pause) => Ok(json!({"weight": weight, "pause": pause.parse::<Period>()?})),
    }
}

fn header_match(text: &str) -> Result<Value, String> {
    let rule = || "must be written HEADER=VALUE:VARIANT, such as x-group=beta:b".to_owned();
    let (header, rest) = text.split_once('=').ok_or_else(rule)?;
    let (value, variant) = rest.rsplit_once(':').ok_or_else(rule)?;
    if header.is_empty() || value.is_empty() || variant.is_empty() {
        return Err(rule());
    }
    let variant = arm(variant).map_err(|_| format!("{}, with an arm from a to h", rule()))?;
    Ok(json!({"header": header.to_ascii_lowercase(), "value": value, "variant": variant}))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::release::ReleaseRequest;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReleaseArgs,
    }

    fn body(line: &[&str]) -> Result<Value, CliError> {
        request(
            &Line::try_parse_from(["release", "fraud"].iter().chain(line))
                .map_err(|error| CliError::usage(error.to_string()))?
                .args,
        )
    }

    #[test]
    fn every_option_becomes_a_field_that_the_api_knows() {
        for line in [
            "--model m --version 7",
            "--model m --version 8 --strategy canary --steps 5,25:30m,50 --baseline 7 --image r.example/m:8",
            "--model m --version 8 --strategy ab --weights a=70,b=30 --match X-Group=a:b:b",
            "--model m --version 8 --strategy blue-green --scale-down-delay 30m --model-uri s3://b/m",
            "--model m --version 8 --strategy shadow --percent 20",
        ] {
            let body = body(&line.split(' ').collect::<Vec<_>>()).unwrap();
            serde_json::from_value::<ReleaseRequest>(body.clone()).unwrap_or_else(|error| panic!("{body}: {error}"));
        }
        assert_eq!(
            header_match("X-Group=a:b:c").unwrap(),
            json!({"header": "x-group", "value": "a:b", "variant": "c"})
        );
        let body = body(&["--model", "m", "--version", "8", "--strategy", "canary", "--steps", "5,25:30m"]).unwrap();
        assert_eq!(body["steps"], json!([5, {"weight": 25, "pause": "30m"}]));
    }

    #[test]
    fn what_cannot_be_meant_is_wrong_usage() {
        for line in [
            "--model m",
            "--model m --version 8 --strategy red-black",
            "--model m --version 8 --steps 5:soon",
            "--model m --version 8 --weights a",
            "--model m --version 8 --weights a=1,a=2",
            "--model m --version 8 --weights a=NaN",
            "--model m --version 8 --match beta:b",
            "--model m --version abc",
            "--model m --version 8 --strategy canary --steps 50,25",
            "--model m --version 8 --strategy shadow --percent 101",
            "--model m --version 8 --strategy ab --match x-group=beta:z",
            "--model m --version 8 --weights a=50,z=50",
            "--model m --version 8 --image a\tb",
            "-f /nowhere/at/all",
        ] {
            assert_eq!(body(&line.split(' ').collect::<Vec<_>>()).unwrap_err().exit, Exit::Usage, "{line}");
        }
    }

    #[test]
    fn options_override_a_request_of_a_file_but_not_a_whole_release() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let short = file("short.yaml", "model: m\nversion: 7\n");
        assert_eq!(body(&["-f", &short, "--version", "8"]).unwrap(), json!({"model": "m", "version": "8"}));
        let whole = file("whole.yaml", "spec: {model: m}\n");
        assert!(body(&["-f", &whole]).is_ok());
        assert!(body(&["-f", &whole, "--version", "8"]).unwrap_err().sentence.contains("`version`"));
        let bare = file("bare.yaml", "model: m\nvariants: []\n");
        assert_eq!(body(&["-f", &bare]).unwrap(), json!({"spec": {"model": "m", "variants": []}}));
        assert!(body(&["-f", &file("list.yaml", "[1]")]).is_err());
        assert!(body(&["-f", "/nowhere/at/all"]).is_err());
    }
}
