//! Replicas on PostgreSQL whose branch is at the forge: whoever is asked says where the review is.

use std::time::{Duration, Instant};

use super::review::in_review;
use super::*;
use crate::image;
use crate::postgres::together::{Site, leads};
use crate::reviewed::{review_is, review_of, serves};

/// An answer that comes before this did not give up on the forge.
const IN_TIME: Duration = Duration::from_secs(9);

#[test]
fn who_asks_a_replica_that_follows_is_told_where_the_review_is() {
    let site = Site::<2>::new();
    let forge = Forge::start(&site.environments[0]);
    let replica = |at: usize| in_review(forge.followed_by(site.replica(at))).start();
    let leader = replica(0);
    leader.until("leading", || leads(&leader).then_some(()));
    let follower = replica(1);
    for (number, version) in [(1, "7"), (2, "8"), (3, "9")] {
        let asked = Instant::now();
        let answer = follower.put(FRAUD, &image("fraud", version)).expect(202).json();
        let is_in_time = asked.elapsed() < IN_TIME;
        let (url, delivery) = review_of(&leader, &answer);
        assert_eq!(url, format!("http://{}/team/gitops/pulls/{number}", forge.gitea.address()));
        if is_in_time {
            assert_eq!(answer["waitsFor"], format!("the review of {url}"), "both say the same");
        }
        forge.merge(&follower, number, "merge");
        for server in [&leader, &follower] {
            serves(server, version);
        }
        assert_eq!(follower.settle(&delivery)["state"], "applied");
        review_is(&leader, "merged");
    }
    assert!(leads(&leader) && !leads(&follower));
}
