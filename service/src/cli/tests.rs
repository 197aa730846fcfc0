use std::ffi::OsString;

use clap::CommandFactory as _;

use super::*;

/// The widest line that an 100 columns wide help shows without breaking it.
const HELP_COLUMNS: usize = 100;

/// Every command that does something, with its words.
fn commands() -> Vec<(String, clap::Command)> {
    fn walk(command: &clap::Command, name: &str, into: &mut Vec<(String, clap::Command)>) {
        let is_there = |inside: &&clap::Command| inside.get_name() != "help" && !inside.is_hide_set();
        let inside: Vec<_> = command.get_subcommands().filter(is_there).collect();
        if inside.is_empty() {
            into.push((name.to_owned(), command.clone()));
        }
        for inside in inside {
            walk(inside, &format!("{name} {}", inside.get_name()), into);
        }
    }
    let mut commands = Vec::new();
    walk(&Cli::command(), "kmlflow", &mut commands);
    commands
}

/// The command lines that a help text shows, without their comments and what a shell adds.
fn examples(help: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.strip_prefix("  ")?.split("   ").next()?;
        let line = line.split([';', '|', '>']).next()?.trim();
        let start = line.find("kmlflow ")?;
        Some(line[start..].trim_end_matches(')').to_owned())
    };
    help.lines().filter_map(line).collect()
}

#[test]
fn the_commands_of_the_interface_are_there_and_no_other() {
    let names: Vec<String> =
        commands().into_iter().map(|(name, _)| name.trim_start_matches("kmlflow ").to_owned()).collect();
    assert_eq!(
        names.join(", "),
        "serve, demo, release, list, get, history, manifests, diff, logs, watch, advance, promote, rollback, pause, resume, abort, weights, \
         retract, hold, unhold, rerender, sweep, import, deliveries list, deliveries show, deliveries redeliver, policy test, token create, token list, \
         token revoke, render, doctor webhook, mlflow connect, init, repo move, backup, restore, migrate, openapi, completion"
    );
}

#[test]
fn a_command_that_is_not_there_yet_says_what_it_needs() {
    let line = "approve fraud";
    let Cli { command, .. } = Cli::try_parse_from(format!("kmlflow {line}").split(' ')).unwrap();
    let Command::Later(command) = command else { panic!("{line}: {command:?}") };
    let error = later::explain(&command);
    assert!(error.exit == Exit::Failed && error.sentence.contains("is not there yet: it needs"), "{line}: {error:?}");
    let name = error.sentence.split('`').nth(1).unwrap();
    assert!(line.starts_with(name) && usage::KMLFLOW.contains(name) && error.hint.is_some(), "{line}: {error:?}");
}

#[test]
fn every_help_teaches_by_examples_that_are_understood() {
    for (name, command) in commands() {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let examples = examples(&help);
        assert!(examples.iter().any(|example| example.starts_with(&name)), "{name}: {examples:?}");
        for example in examples {
            let words: Vec<OsString> = example.replace('\'', "").split_whitespace().map(OsString::from).collect();
            // A reason of two words is quoted, which is the shell's to take apart.
            let parsed = Cli::try_parse_from(&words);
            let quoted = example.contains("--reason '");
            assert!(
                parsed.is_ok() || quoted,
                "{example}: {}",
                parsed.err().map(|error| error.to_string()).unwrap_or_default()
            );
        }
        for line in help.lines() {
            assert!(line.chars().count() <= HELP_COLUMNS - 2, "{name}: {line}");
        }
    }
}

#[test]
fn every_command_and_option_says_what_it_is_for() {
    for (name, command) in commands() {
        assert!(command.get_about().is_some(), "{name}");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name} {}", argument.get_id());
        }
    }
}

#[test]
fn the_definition_of_the_command_line_holds_together() {
    Cli::command().debug_assert();
}
