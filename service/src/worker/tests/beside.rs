//! Branches of reviews at a remote, beside the one that is released to.

use super::remote::Far;
use super::*;
use crate::forge::{Access, Address, Forge, Kind, Settings as ForgeSettings, Token, TokenAccess};
use crate::release::RefusalKind;

/// A service whose changes are reviewed, at a forge that nobody needs to answer here.
async fn reviewed() -> Far {
    let mut far = Far::without_start().await;
    let address =
        Address::of(Kind::Gitea, "https://forge.example/team/gitops.git", Some("http://127.0.0.1:9")).unwrap();
    let token = TokenAccess { token: Token::new("t0ken"), cure: String::new(), renewal: None };
    let settings = ForgeSettings { kind: Kind::Gitea, address, access: Access::Token(token), ca_file: None };
    far.world.remote.as_mut().unwrap().forge = Some(std::sync::Arc::new(Forge::new(settings).unwrap()));
    far.world.is_reviewed = true;
    far.world.start().await;
    far
}

#[tokio::test]
async fn a_branch_that_is_in_the_way_of_all_reviews_is_named_and_the_change_goes_once_it_is_gone() {
    let mut far = reviewed().await;
    far.at_remote(&["branch", "kmlflow", "main"]);
    let refused = refusal(far.world.ask(put("fraud", single("7"))).await);
    assert_eq!(refused.kind, RefusalKind::RemoteRefused);
    assert!(refused.reason.contains("the branch `kmlflow` is in its way"), "{}", refused.reason);
    assert!(refused.reason.contains("rename or delete it"), "{}", refused.reason);
    far.at_remote(&["branch", "-m", "kmlflow", "theirs"]);
    let handle = far.world.handle();
    let asked = handle.request(put("fraud", single("7")), Duration::from_millis(10));
    let (asked, ()) = tokio::join!(asked, far.world.run());
    assert!(matches!(asked, Ok(Answer::Queued { .. })), "{asked:?}");
    let branches = far.at_remote(&["for-each-ref", "--format=%(refname:short)", "refs/heads/kmlflow"]);
    assert_eq!(branches, "kmlflow/production/models/fraud");
}
