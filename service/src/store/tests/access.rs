use super::*;
use crate::access::{ClearToken, Scope, TokenRole};

fn new_token(id: &str, clear: &ClearToken) -> NewToken {
    let scopes = vec![Scope::parse("production/models/fraud-*").unwrap()];
    let token = Token {
        id: id.into(),
        name: Some("ci".into()),
        role: TokenRole::Releaser,
        scopes,
        created_at: start(),
        expires_at: Some(days_later(30)),
        revoked_at: None,
    };
    NewToken { token, hash: clear.hash() }
}

#[tokio::test]
async fn a_token_is_found_by_its_hash_and_its_clear_text_is_nowhere() {
    let test = TestStore::in_file(Limits::default()).await;
    let clear = ClearToken::generate().unwrap();
    let new = new_token("one", &clear);
    assert!(test.store.create_token(new.clone()).await.unwrap());
    assert_eq!(test.store.token_by_hash(&clear.hash()).await.unwrap(), Some(new.token));
    assert_eq!(test.store.token_by_hash(&TokenHash::of("another")).await.unwrap(), None);

    let contains = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let mut files: Vec<u8> = Vec::new();
    for entry in std::fs::read_dir(test.path()).unwrap() {
        files.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    assert!(contains(&files, clear.hash().as_str()), "this is where it would be");
    assert!(!contains(&files, clear.reveal()));
}

#[tokio::test]
async fn a_token_is_revoked_once_and_stays_listed() {
    let test = TestStore::open().await;
    assert!(test.store.create_token(new_token("one", &ClearToken::generate().unwrap())).await.unwrap());
    for (id, came) in [("one", Revoked::Done), ("one", Revoked::Unknown), ("nobody", Revoked::Unknown)] {
        assert_eq!(test.store.revoke_token(id, days_later(1)).await.unwrap(), came, "{id}");
    }
    let listed = test.store.tokens().await.unwrap();
    assert_eq!(listed.iter().map(|token| token.revoked_at).collect::<Vec<_>>(), [Some(days_later(1))]);
    assert!(!listed[0].is_live(days_later(1)));
}

#[tokio::test]
async fn neither_id_nor_hash_is_taken_twice() {
    let test = TestStore::open().await;
    let clear = ClearToken::generate().unwrap();
    assert!(test.store.create_token(new_token("one", &clear)).await.unwrap());
    assert!(!test.store.create_token(new_token("one", &ClearToken::generate().unwrap())).await.unwrap());
    assert!(!test.store.create_token(new_token("two", &clear)).await.unwrap());
    assert_eq!(test.store.tokens().await.unwrap().len(), 1);
}

fn claim_key(key: &str) -> ClaimKey {
    ClaimKey { token_id: "one".into(), path: "PUT /api/v1/releases/production/models/fraud".into(), key: key.into() }
}

#[tokio::test]
async fn the_last_token_that_is_good_for_everything_is_not_revoked() {
    let test = TestStore::open().await;
    let create = async |id: &str, change: fn(&mut Token)| {
        let mut new = new_token(id, &ClearToken::generate().unwrap());
        (new.token.role, new.token.scopes, new.token.expires_at) = (TokenRole::Admin, Vec::new(), None);
        change(&mut new.token);
        assert!(test.store.create_token(new).await.unwrap());
    };
    let revoke = async |id: &str| test.store.revoke_token(id, days_later(2)).await.unwrap();
    create("first", |_| {}).await;
    create("viewer", |token| token.role = TokenRole::Viewer).await;
    create("scoped", |token| token.scopes = vec!["production/*/*".parse().unwrap()]).await;
    create("over", |token| token.expires_at = Some(days_later(1))).await;
    assert_eq!(revoke("first").await, Revoked::LastAdmin);
    for id in ["viewer", "scoped", "over"] {
        assert_eq!(revoke(id).await, Revoked::Done, "{id}");
    }
    create("second", |token| token.expires_at = Some(days_later(3))).await;
    assert_eq!(revoke("first").await, Revoked::Done);
    assert_eq!(revoke("second").await, Revoked::LastAdmin);
}

#[tokio::test]
async fn of_two_claims_at_once_one_is_new() {
    let test = TestStore::open().await;
    let claim = || test.store.claim(claim_key("k"), "body".into(), start());
    let (one, other) = tokio::join!(claim(), claim());
    assert_eq!((one.unwrap(), other.unwrap()), (Claim::New, Claim::InFlight));
}

#[tokio::test]
async fn the_same_request_gets_the_same_answer_and_another_body_none() {
    let test = TestStore::open().await;
    assert_eq!(test.store.claim(claim_key("k"), "body".into(), start()).await.unwrap(), Claim::New);
    assert_eq!(test.store.claim(claim_key("k"), "other".into(), start()).await.unwrap(), Claim::Other);
    test.store.answer(claim_key("k"), 201, "{}".into()).await.unwrap();
    test.store.answer(claim_key("k"), 500, "late".into()).await.unwrap();
    assert_eq!(test.store.claim(claim_key("k"), "body".into(), start()).await.unwrap(), Claim::Same(201, "{}".into()));
    assert_eq!(test.store.claim(claim_key("k"), "other".into(), start()).await.unwrap(), Claim::Other);
    for elsewhere in
        [ClaimKey { token_id: "two".into(), ..claim_key("k") }, ClaimKey { path: "PUT /x".into(), ..claim_key("k") }]
    {
        assert_eq!(test.store.claim(elsewhere, "body".into(), start()).await.unwrap(), Claim::New);
    }
}

#[tokio::test]
async fn a_claim_is_forgotten_after_a_day_or_when_it_is_given_back() {
    let test = TestStore::open().await;
    test.store.claim(claim_key("k"), "body".into(), start()).await.unwrap();
    test.store.answer(claim_key("k"), 200, "{}".into()).await.unwrap();
    test.store.give_back(claim_key("k")).await.unwrap();
    let day = |ms: i64| days_later(1).checked_add(SignedDuration::from_millis(ms)).unwrap();
    assert!(matches!(test.store.claim(claim_key("k"), "body".into(), day(0)).await.unwrap(), Claim::Same(..)));
    assert_eq!(test.store.claim(claim_key("k"), "other".into(), day(1)).await.unwrap(), Claim::New);
    test.store.give_back(claim_key("k")).await.unwrap();
    assert_eq!(test.store.claim(claim_key("k"), "third".into(), day(1)).await.unwrap(), Claim::Other);
    // Whoever failed may have carried it out all the same.
    let again = test.store.claim(claim_key("k"), "other".into(), day(2)).await.unwrap();
    assert_eq!(again, Claim::Interrupted(day(1)));
    assert_eq!(test.store.claim(claim_key("k"), "other".into(), day(2)).await.unwrap(), Claim::InFlight);
    assert!(test.store.claim_anew(claim_key("k"), day(3)).await.unwrap());
    test.store.give_back(claim_key("k")).await.unwrap();
    let again = test.store.claim(claim_key("k"), "other".into(), day(4)).await.unwrap();
    assert_eq!(again, Claim::Interrupted(day(3)));
}

#[tokio::test]
async fn a_claim_that_nobody_answers_for_an_hour_is_anybodys_and_names_the_same_request() {
    let test = TestStore::open().await;
    let minutes = |minutes: i64| start().checked_add(SignedDuration::from_mins(minutes)).unwrap();
    test.store.claim(claim_key("k"), "body".into(), start()).await.unwrap();
    assert_eq!(test.store.claim(claim_key("k"), "body".into(), minutes(60)).await.unwrap(), Claim::InFlight);
    assert_eq!(
        test.store.claim(claim_key("k"), "body".into(), minutes(61)).await.unwrap(),
        Claim::Interrupted(start())
    );
}

#[tokio::test]
async fn a_restart_knows_what_nobody_is_left_to_answer() {
    let test = TestStore::in_file(Limits::default()).await;
    test.store.claim(claim_key("left"), "body".into(), start()).await.unwrap();
    test.store.claim(claim_key("answered"), "body".into(), start()).await.unwrap();
    test.store.answer(claim_key("answered"), 200, "{}".into()).await.unwrap();
    let test = test.reopened().await;
    let hours = |hours| start().checked_add(SignedDuration::from_hours(hours)).unwrap();
    let claim = async |at, body: &str| test.store.claim(claim_key("left"), body.into(), at).await.unwrap();
    assert_eq!(claim(hours(2), "other").await, Claim::Other);
    assert_eq!(claim(hours(2), "body").await, Claim::Interrupted(start()));
    assert_eq!(claim(start(), "body").await, Claim::InFlight);
    assert!(matches!(test.store.claim(claim_key("answered"), "body".into(), start()).await.unwrap(), Claim::Same(..)));
}
