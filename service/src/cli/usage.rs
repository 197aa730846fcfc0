//! Help that teaches: examples for every command, and errors of usage in the words of all other errors.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command};

use super::error::{CliError, Exit};
use super::output::Output;
use crate::names::{EnvironmentName, Namespace, ReleaseName};

/// Explains why a command line was not understood, or shows the help or version that it asked for.
pub(super) fn explain(error: &clap::Error, arguments: &[OsString], root: &Command, output: &Output) -> Exit {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = if output.color() { error.render().ansi().to_string() } else { error.render().to_string() };
            output.write(&text).map_or_else(|error| error.exit, |()| Exit::Done)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output.progress_raw(&error.render().to_string());
            Exit::Usage
        }
        _ => {
            output.error(&in_our_words(&error.render().to_string(), &command_of(arguments, root)));
            Exit::Usage
        }
    }
}

/// An error with a hint: its own, in which `NAME` is the release that the command was about, or, where the command was written wrongly, where its
/// examples are.
pub(super) fn with_hint(error: CliError, matches: &ArgMatches) -> CliError {
    let (mut names, mut at) = (vec!["kmlflow"], matches);
    while let Some((name, inside)) = at.subcommand() {
        names.push(name);
        at = inside;
    }
    let error = match error.exit {
        Exit::Usage => error.or_hint(|| format!("`{} --help` shows examples", names.join(" "))),
        _ => error,
    };
    let CliError { sentence, hint, exit } = error;
    let hint = hint.map(|hint| match release_of(at) {
        Some(release) => [" NAME`", " NAME "]
            .iter()
            .fold(hint, |hint, pattern| hint.replace(pattern, &pattern.replace("NAME", &release))),
        None => hint,
    });
    CliError { sentence, hint, exit }
}

/// The release that a command is about, the way it was written.
fn release_of(matches: &ArgMatches) -> Option<String> {
    let mut release = matches.try_get_one::<ReleaseName>("name").ok()??.to_string();
    let is_given = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
    if let Some(namespace) = matches.try_get_one::<Namespace>("namespace").ok()?.filter(|_| is_given("namespace")) {
        release.push_str(&format!(" -n {namespace}"));
    }
    let environment = matches.try_get_one::<EnvironmentName>("environment").ok()?;
    if let Some(environment) = environment.filter(|_| is_given("environment")) {
        release.push_str(&format!(" -e {environment}"));
    }
    Some(release)
}

/// The command that was meant, as far as it was written: `kmlflow token create`.
fn command_of(arguments: &[OsString], root: &Command) -> String {
    let mut names = vec!["kmlflow"];
    let mut at = root;
    for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
        if let Some(command) = at.find_subcommand(argument) {
            names.push(command.get_name());
            at = command;
        }
    }
    names.join(" ")
}

/// Turns clap's `error: …`, its tips and its usage into one sentence and one hint.
fn in_our_words(text: &str, command: &str) -> CliError {
    let mut paragraphs = text.split("\n\n");
    let first = paragraphs.next().unwrap_or_default();
    let sentence = first.strip_prefix("error: ").unwrap_or(first).split_whitespace().collect::<Vec<_>>().join(" ");
    let tip = paragraphs.find_map(|paragraph| paragraph.trim().strip_prefix("tip: ")?.lines().next());
    let hint = tip.map_or_else(|| format!("`{command} --help` shows examples"), str::to_owned);
    CliError::usage(sentence).hint(hint)
}

/// After `kmlflow --help`.
pub(super) const KMLFLOW: &str = "\
Examples:
  kmlflow demo                           see the five strategies, made by signed deliveries
  kmlflow serve                          the service; prints its token and a first curl
  kmlflow release fraud --model fraud --version 7
  kmlflow release fraud --model fraud --version 8 --strategy canary --steps 5,25,50
  kmlflow advance fraud · promote fraud · rollback fraud
  kmlflow list

Exit codes: 0 done (also when nothing had to change), 1 failed, 2 wrong usage, 3 refused,
4 not found, 5 conflict with what is deployed, 6 deadline passed or still queued at it.

Not there yet: approve.";

/// After `kmlflow serve --help`.
pub(super) const SERVE: &str = "\
Examples:
  kmlflow serve                          repository and store in the XDG data directory
  kmlflow serve --data-dir ./data --listen 127.0.0.1:0
  KMLFLOW__ENVIRONMENTS__PRODUCTION__BLIND_DELAY=0s kmlflow serve
  kmlflow serve --defaults   every key of the configuration, its default, what it means

Without any configuration it keeps its own Git repository and store in the data directory and
listens on this machine only. Any key can be set by the environment: KMLFLOW__PUBLIC_URL overrides
`public_url`. RUST_LOG sets what is logged.";

/// After `kmlflow mlflow connect --help`.
pub(super) const MLFLOW_CONNECT: &str = "\
Examples:
  kmlflow mlflow connect --tracking-uri http://mlflow:5000
  kmlflow mlflow connect --tracking-uri http://mlflow:5000 --url http://kmlflow.mlops.svc:8080
  kmlflow mlflow connect --username admin --password-file mlflow-password
  kmlflow mlflow connect --rotate-secret
  kmlflow mlflow connect --finish-rotation       three minutes later

Finds the webhook by its address, makes or changes it, and has MLflow deliver an example. The same
again changes nothing. --url is the address by which MLflow reaches the service; `public_url`, or
where the service of the data directory listens, unless given. Runs where that directory is.";

/// After `kmlflow demo --help`.
pub(super) const DEMO: &str = "\
Examples:
  kmlflow demo                           stays up until Ctrl-C, so that you can look around
  kmlflow demo --exit                    ends after the story
  kmlflow demo --exit -o json            the five releases as JSON

Starts a service on a free port in a temporary directory, posts the signed events of five models
to it like MLflow, and leaves it running.";

/// After `kmlflow release --help`.
pub(super) const RELEASE: &str = "\
Examples:
  kmlflow release fraud --model fraud --version 7
  kmlflow release fraud --model fraud --version 8 --strategy canary --steps 5,25,50
  kmlflow release fraud --model fraud --version 8 --strategy canary --steps 5:10m,25:30m,50
  kmlflow release fraud --model fraud --version 8 --strategy ab --weights a=70,b=30
  kmlflow release fraud --model fraud --version 8 --strategy ab --match x-group=beta:b
  kmlflow release fraud --model fraud --version 8 --strategy blue-green --scale-down-delay 1h
  kmlflow release fraud --model fraud --version 8 --strategy shadow --percent 20
  kmlflow release fraud -f spec.yaml --dry-run

A file is a request, a `spec`, or a whole release.yaml; `-f -` reads stdin. A strategy
with two variants compares with the version that is deployed.";

/// After `kmlflow list --help`.
pub(super) const LIST: &str = "\
Examples:
  kmlflow list
  kmlflow list -n models --strategy canary
  kmlflow list -o json | jq -r '.items[].endpoint'";

/// After `kmlflow get --help`.
pub(super) const GET: &str = "\
Examples:
  kmlflow get fraud
  kmlflow get fraud -o yaml > fraud.yaml
  kmlflow release fraud -f fraud.yaml    gives it back";

/// After `kmlflow history --help`.
pub(super) const HISTORY: &str = "\
Examples:
  kmlflow history fraud
  kmlflow rollback fraud --to 0123456    a commit of the history, or a version";

/// After `kmlflow manifests --help`.
pub(super) const MANIFESTS: &str = "\
Examples:
  kmlflow manifests fraud
  kmlflow manifests fraud --commit 0123456   as they were then; 7 digits of the history are enough
  kmlflow manifests fraud --output-dir ./fraud   one file each, as they are in the repository";

/// After `kmlflow diff --help`.
pub(super) const DIFF: &str = "\
Examples:
  kmlflow diff fraud                     what Git wants against what the cluster has
  kmlflow diff fraud --exit-code         ends with 1 where they differ, like `git diff`

Only what was rendered is compared: what the API server and the operator fill in is no
difference. Of the dashboard and the monitoring Argo CD's word is taken. Argo CD puts back by
itself what was changed by hand, where it heals. `kmlflow sweep` has all releases at once.";

/// After `kmlflow logs --help`.
pub(super) const LOGS: &str = "\
Examples:
  kmlflow logs fraud                     the run that failed, of the container that fails";

/// After `kmlflow watch --help`.
pub(super) const WATCH: &str = "\
Examples:
  kmlflow watch                          everything, until Ctrl-C
  kmlflow watch fraud
  kmlflow watch fraud -o json | jq .     one JSON object per line";

/// After `kmlflow advance --help`.
pub(super) const ADVANCE: &str = "\
Examples:
  kmlflow advance fraud   canary: one step on; blue-green: flip to the other colour

At the last step of a canary it promotes: the new version stays alone.";

/// After `kmlflow promote --help`.
pub(super) const PROMOTE: &str = "\
Examples:
  kmlflow promote fraud                  canary, blue-green, shadow: the new version stays alone
  kmlflow promote fraud --variant b      ab: names the winner";

/// After `kmlflow rollback --help`.
pub(super) const ROLLBACK: &str = "\
Examples:
  kmlflow rollback fraud                 to the newest settled state before the present one
  kmlflow rollback fraud --to 6          to that version
  kmlflow rollback fraud --to 0123456    to a commit of `kmlflow history fraud`

States with a version that was rejected (rolled back or aborted) are skipped; --to goes to any.
Where files were changed by hand, --force renders over them; --adopt takes them over first.";

/// After `kmlflow pause --help`.
pub(super) const PAUSE: &str = "\
Examples:
  kmlflow pause fraud                    nothing goes on by itself, but for a rollback
  kmlflow resume fraud";

/// After `kmlflow resume --help`.
pub(super) const RESUME: &str = "\
Examples:
  kmlflow resume fraud                   goes on where `kmlflow pause fraud` stopped it";

/// After `kmlflow abort --help`.
pub(super) const ABORT: &str = "\
Examples:
  kmlflow abort fraud                    ends the run; the version before it stays alone";

/// After `kmlflow weights --help`.
pub(super) const WEIGHTS: &str = "\
Examples:
  kmlflow weights fraud a=70,b=30        ab: percent per arm, together 100
  kmlflow weights fraud 20               shadow: the mirrored percentage";

/// After `kmlflow retract --help`.
pub(super) const RETRACT: &str = "\
Examples:
  kmlflow retract fraud   removes it from the repository; nothing brings it back by itself
  kmlflow retract fraud --force   also where its files were changed by hand";

/// After `kmlflow hold --help`.
pub(super) const HOLD: &str = "\
Examples:
  kmlflow hold --reason 'incident 4711'  accept and keep everything, apply nothing
  kmlflow hold -e production --reason 'quarter end'
  kmlflow hold                           what is held, since when, by whom and why
  kmlflow unhold";

/// After `kmlflow unhold --help`.
pub(super) const UNHOLD: &str = "\
Examples:
  kmlflow unhold                         applies what was kept, in order of arrival
  kmlflow unhold -e production";

/// After `kmlflow render --help`.
pub(super) const RENDER: &str = "\
Examples:
  kmlflow render -f release.yaml         needs no service and no configuration
  kmlflow render -f release.yaml --output-dir ./out   one file each
  kmlflow render -f release.yaml --templates ./mine   with some templates replaced by name";

/// After `kmlflow rerender --help`.
pub(super) const RERENDER: &str = "\
Examples:
  kmlflow rerender --all --dry-run       which releases would change, and who restarts
  kmlflow rerender fraud churn           in every namespace that has one of that name
  kmlflow rerender fraud -n models
  kmlflow rerender --all -e production --rate 10/min";

/// After `kmlflow sweep --help`.
pub(super) const SWEEP: &str = "\
Examples:
  kmlflow sweep --dry-run                where registry, Git and cluster differ, and why
  kmlflow sweep

The service does the same at its start and every `mlflow.sweep_interval`. A rollback and
what a person decided stand until the registry changes; a version that was deleted in
MLflow while it serves is only told. So is what differs in a cluster, by what is watched of it:
`kmlflow diff` compares one release field by field.";

/// After `kmlflow import --help`.
pub(super) const IMPORT: &str = "\
Examples:
  kmlflow import wine                    the release that it would be, and what becomes otherwise
  kmlflow import wine --model wine --version default=7
  kmlflow import --all -n models
  kmlflow import -f wine.yaml --as wine-two
  kmlflow import wine --apply            asks for it; Git decides as for any release

What a release cannot say is named with its field, and the SeldonDeployment is left alone. Under
the same name Argo CD takes it over; under another one it stays beside the release. Of two
predictors the one with more traffic is the stable one: it is released first and alone.";

/// After `kmlflow deliveries list --help`.
pub(super) const DELIVERIES_LIST: &str = "\
Examples:
  kmlflow deliveries list
  kmlflow deliveries list --state refused
  kmlflow deliveries list --release fraud -n models   what led to it, and what waits for it

What is accepted and waits is taken back by a newer request for the release that takes its place:
ask for what serves (`kmlflow release fraud --model M --version V`), and it stays so.";

/// After `kmlflow deliveries show --help`.
pub(super) const DELIVERIES_SHOW: &str = "\
Examples:
  kmlflow deliveries show 38f1d5fc-1264-40fb-97c0-ea4a807537f0
  kmlflow deliveries show 12             by its number";

/// After `kmlflow deliveries redeliver --help`.
pub(super) const DELIVERIES_REDELIVER: &str = "\
Examples:
  kmlflow deliveries redeliver 12        tries it once more, whatever became of it

What was carried out once is not carried out over what was asked of its release since: it stays
as it is, and the answer says what that was. Ask for it anew where it is wanted all the same.";

/// After `kmlflow policy test --help`.
pub(super) const POLICY_TEST: &str = "\
Examples:
  kmlflow policy test --model fraud --alias champion=7
  kmlflow policy test --model fraud --alias champion=7 --alias challenger=8 --tag stage=ok";

/// After `kmlflow doctor webhook --help`.
pub(super) const DOCTOR_WEBHOOK: &str = "\
Examples:
  kmlflow doctor webhook --headers headers.txt --body body.json
  kmlflow doctor webhook --headers headers.txt --body body.json --secret-file ./secret

The headers' file has one `Name: value` per line, as `curl -v` or a proxy's log shows them. The
body must be byte for byte what was sent. Needs no service; the data directory's secret is tried
unless a file is named. The curl that it prints is signed now and needs curl and nothing else; it
is good for five minutes, but for GitHub's door, where no time is signed.";

/// After `kmlflow init --help`.
pub(super) const INIT: &str = "\
Examples:
  kmlflow init --url https://git.example/team/gitops.git --dry-run   what would be added
  kmlflow init --url git@git.example:team/gitops.git --config kmlflow.yaml   by its key
  kmlflow init --url /srv/git/gitops.git
  kmlflow init --url /srv/git/infra.git --with-platform   the whole platform too

An empty repository gets all of it. One that has something already gets what has Argo CD apply the
releases, and the rest where it is asked for; what is there stays as it is.";

/// After `kmlflow repo move --help`.
pub(super) const REPO_MOVE: &str = "\
Examples:
  kmlflow repo move --to https://git.example/team/gitops.git   an empty one
  kmlflow serve --config kmlflow.yaml   goes on there, once `git.url` in that file says so";

/// After `kmlflow backup --help`.
pub(super) const BACKUP: &str = "\
Examples:
  kmlflow backup kmlflow.tar   repository and store in one file; the service may go on meanwhile
  kmlflow restore kmlflow.tar --data-dir ./new   into an empty data directory";

/// After `kmlflow restore --help`.
pub(super) const RESTORE: &str = "\
Examples:
  kmlflow restore kmlflow.tar --data-dir ./new   into an empty data directory";

/// After `kmlflow migrate --help`.
pub(super) const MIGRATE: &str = "\
Examples:
  kmlflow migrate   the file in the data directory into the database that `store.url` names
  kmlflow migrate --to postgres://kmlflow@db.example/kmlflow --password-file ./password

The file stays as it is. `kmlflow.db.moved-to` beside it keeps services from going on with it:
they start once `store.url` names the database, or once that file is deleted.";

/// After `kmlflow token create --help`.
pub(super) const TOKEN_CREATE: &str = "\
Examples:
  kmlflow token create --role viewer --name grafana
  kmlflow token create --role releaser --scope 'production/models/fraud-*' --expires 30d";

/// After `kmlflow token list --help`.
pub(super) const TOKEN_LIST: &str = "\
Examples:
  kmlflow token list";

/// After `kmlflow token revoke --help`.
pub(super) const TOKEN_REVOKE: &str = "\
Examples:
  kmlflow token revoke 0190b2c4          by the id of `kmlflow token list`, or its beginning";

/// After `kmlflow openapi --help`.
pub(super) const OPENAPI: &str = "\
Examples:
  kmlflow openapi > openapi.json         needs no service; equal to /api/openapi.json";

/// After `kmlflow completion --help`.
pub(super) const COMPLETION: &str = "\
Examples:
  source <(kmlflow completion bash)
  kmlflow completion zsh > ~/.zfunc/_kmlflow
  kmlflow completion fish > ~/.config/fish/completions/kmlflow.fish";

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> Command {
        Command::new("kmlflow")
            .subcommand(Command::new("release"))
            .subcommand(Command::new("token").subcommand(Command::new("create")))
    }

    #[test]
    fn an_error_of_usage_is_one_sentence_and_one_hint() {
        let text = "error: unexpected argument '--versoin' found\n\n  tip: a similar argument exists: '--version'\n\nUsage: kmlflow release\n";
        let error = in_our_words(text, "kmlflow release");
        assert_eq!(
            error,
            CliError::usage("unexpected argument '--versoin' found").hint("a similar argument exists: '--version'")
        );
        let text = "error: the following required arguments were not provided:\n  --model <MODEL>\n\nUsage: kmlflow release <NAME>\n";
        let error = in_our_words(text, "kmlflow release");
        assert_eq!(error.sentence, "the following required arguments were not provided: --model <MODEL>");
        assert_eq!(error.hint.as_deref(), Some("`kmlflow release --help` shows examples"));
    }

    #[test]
    fn a_hint_is_there_and_names_the_release_that_the_command_was_about() {
        use clap::CommandFactory as _;
        let hint = |line: &str, hint: Option<&str>| {
            let matches = crate::cli::Cli::command().try_get_matches_from(line.split(' ')).unwrap();
            let error = CliError { hint: hint.map(str::to_owned), ..CliError::usage("x") };
            with_hint(error, &matches).hint.unwrap()
        };
        let text = "`kmlflow history NAME` shows the states; `kmlflow weights NAME a=70,b=30`";
        let history = Some(text);
        assert_eq!(
            hint("kmlflow rollback fraud", history),
            "`kmlflow history fraud` shows the states; `kmlflow weights fraud a=70,b=30`"
        );
        assert!(hint("kmlflow rollback fraud -n x -e y", history).starts_with("`kmlflow history fraud -n x -e y` "));
        assert_eq!(hint("kmlflow list", history), text);
        assert_eq!(hint("kmlflow token create --role viewer", None), "`kmlflow token create --help` shows examples");
        assert_eq!(hint("kmlflow rollback fraud", None), "`kmlflow rollback --help` shows examples");
        let matches = crate::cli::Cli::command().try_get_matches_from(["kmlflow", "init"]).unwrap();
        let unreachable = with_hint(CliError::failed("the remote cannot be reached"), &matches);
        assert_eq!(unreachable.hint, None, "the command is right");
    }

    #[test]
    fn the_hint_names_the_command_that_was_meant() {
        let of = |line: &str| command_of(&line.split(' ').map(OsString::from).collect::<Vec<_>>(), &root());
        assert_eq!(of("kmlflow -o json token create --role x"), "kmlflow token create");
        assert_eq!(of("kmlflow release --version 0"), "kmlflow release");
        assert_eq!(of("kmlflow relaese"), "kmlflow");
    }
}
