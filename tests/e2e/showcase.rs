//! `kmlflow demo`: the main job, shown in one command.

use tests::TestEnvironment;
use tests::environment::succeed;

#[test]
fn the_demo_shows_five_releases_a_promotion_a_rollback_and_where_to_look() {
    let environment = TestEnvironment::new();
    let shown = succeed(&mut environment.kmlflow(["demo", "--exit"]));
    for word in ["single", "canary", "ab", "blue-green", "shadow", "promote", "rollback", "git clone", "curl"] {
        assert!(shown.to_lowercase().contains(word), "`{word}` is missing:\n{shown}");
    }
}
