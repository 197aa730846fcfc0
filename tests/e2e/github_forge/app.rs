//! A GitHub App: its tokens for pushes and for the API, and what is said where there are none.

use super::*;
use tests::github::{Limit, Way};

#[test]
fn an_app_pushes_and_reviews_with_one_token_and_a_new_one_before_the_end_of_the_first() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let server = forge.reviewed().start();
    let before = forge.github.minted();
    put_for_review(&server, "7", 1);
    assert_eq!(forge.github.minted(), before, "one token is enough for an hour");
    // Those that are made from now on end so soon that each is renewed after a second.
    forge.github.tokens_last(601);
    forge.github.revoke_tokens();
    server.until("tokens are renewed", || (forge.github.minted() > before + 2).then_some(()));
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    review_is(&server, "merged");
}

#[test]
fn a_token_that_is_revoked_in_the_middle_is_replaced_once_and_nobody_notices() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    let before = forge.github.minted();
    forge.github.revoke_tokens();
    server.put(FRAUD, &image("fraud", "8")).expect(200);
    assert!(forge.github.minted() > before);
    assert_eq!(forge.commits().len(), 2);
}

#[test]
fn a_key_that_was_replaced_in_its_file_is_used_once_the_old_one_is_refused() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    // Whoever makes a new key deletes the old one, of which the tokens end an hour later at the latest.
    let new = AppKey::make(&environment, "new");
    forge.github.takes_only(&new);
    let queued = server.put(FRAUD, &image("fraud", "8")).expect(202).json();
    says_why(&server, &queued, "not by this key");
    let file = &forge.settings.iter().find(|(name, _)| name.ends_with("PRIVATE_KEY_FILE")).unwrap().1;
    // Half of it helps no more than the old one.
    let whole = std::fs::read_to_string(&new.private).unwrap();
    std::fs::write(file, &whole[..whole.len() / 2]).unwrap();
    let queued = server.put("production/models/other", &image("other", "1")).expect(202).json();
    says_why(&server, &queued, "not by this key");
    std::fs::write(file, whole).unwrap();
    serves(&server, "8");
    assert!(!server.printed().contains("PRIVATE KEY"));
}

#[test]
fn an_app_that_is_suspended_says_so_with_what_helps_and_goes_on_once_it_is_lifted() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let server = forge.server().start();
    server.put(FRAUD, &image("fraud", "7")).expect(201);
    forge.github.suspend_app(true);
    let queued = server.put(FRAUD, &image("fraud", "8")).expect(202).json();
    says_why(&server, &queued, "suspended");
    forge.github.suspend_app(false);
    serves(&server, "8");
}

#[test]
fn a_wrong_key_a_wrong_number_and_a_missing_repository_are_said_at_the_start_with_what_helps() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let other = AppKey::make(&environment, "other");
    let key = ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__PRIVATE_KEY_FILE", other.private.display().to_string());
    let installation = ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__INSTALLATION", "9".to_owned());
    let number = ("KMLFLOW__GIT__CREDENTIALS__GITHUB_APP__ID", "9".to_owned());
    let address = ("KMLFLOW__GIT__URL", forge.github.url().replace("gitops", "elsewhere"));
    for ((name, value), says, helps) in [
        (key, "does not know the App, or not by this key", "compare `git.credentials.github_app.id`"),
        (number, "does not know the App", "compare `git.credentials.github_app.id`"),
        (installation, "is not installed there", "`git.credentials.github_app.installation`"),
        (address, "does not reach the repository", "add the repository"),
    ] {
        let server = forge.server().env(name, &value).begin();
        let answer = server.until_it_answers("/readyz", says);
        assert!(answer.status == 503 && answer.text().contains(helps), "{name}: {}", answer.text());
    }
}

#[test]
fn a_token_that_has_ended_is_said_with_what_helps() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let api = forge.reviewed().env("KMLFLOW__GIT__FORGE__TOKEN", "s3cr3t-marked").start();
    let answer = api.put(FRAUD, &image("fraud", "7")).expect(202).json();
    let said = says_why(&api, &answer, "does not know who asks");
    assert!(!said.contains("s3cr3t") && !answer.to_string().contains("s3cr3t"), "{said}; {answer}");
}

#[test]
fn limits_are_heeded_and_nothing_is_lost_by_them() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_token(&environment);
    let server = forge.reviewed().start();
    for (limit, (number, version)) in [(Limit::Primary(3), (1, "7")), (Limit::Secondary(2), (2, "8"))] {
        forge.github.limit(limit);
        let answer = server.put(FRAUD, &image("fraud", version)).expect(202).json();
        server.until("it is opened after all", || (forge.github.pulls() == number).then_some(()));
        assert!(forge.github.is_limited_no_more(), "{answer}");
        forge.github.merge(u64::try_from(number).unwrap(), Way::Merge);
        serves(&server, version);
        review_is(&server, "merged");
        // Its last word; what was sent by then is not asked although a limit was told.
        server.until("the comment says so", || (forge.github.count("issues/update-comment") == number).then_some(()));
    }
}

#[test]
fn the_configuration_of_the_readme_is_an_app_in_pull_request_mode() {
    let environment = TestEnvironment::new();
    let forge = Forge::with_app(&environment);
    let (url, settings) = (forge.github.url(), &forge.settings);
    let of = |end: &str| settings.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.as_str();
    let here = [
        ("https://github.com/acme/gitops.git", url.as_str()),
        ("123456", of("APP__ID")),
        ("7890123", of("INSTALLATION")),
        ("/etc/kmlflow/app.pem", of("PRIVATE_KEY_FILE")),
    ];
    let config = crate::of_readme(&environment, "github", &here, "");
    let server = environment.server().env(OFTEN.0, OFTEN.1).arg("--config").arg(&config).start();
    put_for_review(&server, "7", 1);
    forge.github.merge(1, Way::Merge);
    serves(&server, "7");
    assert!(forge.github.count("apps/create-installation-access-token") > 0);
}
