//! What people are to see before it goes live never comes into a pull request that merges itself.

use std::time::Duration;

use super::branch_of;
use crate::forge::CalledOff;
use crate::names::ReleaseKey;
use crate::worker::shared::Shared;

/// How long a turn waits for the forge: others wait for the turn.
const FORGE_WAIT: Duration = Duration::from_secs(3);

/// Has the pull request of a release wait for a person from now on, before its branch is moved. The forge is asked whatever is remembered: who asked for
/// the merge may have been this service before its last start, another replica, or a person.
///
/// Called with the lock of the branch, so that nothing has it merged by itself again meanwhile.
///
/// # Errors
/// It may still be merged as it is; why, in words. The branch must not be moved yet.
pub(super) async fn call_off(shared: &Shared, key: &ReleaseKey) -> Result<(), String> {
    let Some(forge) = shared.settings.forge() else { return Ok(()) };
    let branch = branch_of(key);
    let asked = forge.call_off_merge(&branch, shared.repository.branch());
    match tokio::time::timeout(FORGE_WAIT, asked).await {
        Ok(Ok(CalledOff::Nothing)) => {
            shared.reviews.merges_itself_no_more(key);
            Ok(())
        }
        // The forge may have begun already to merge what is there, and would take what is pushed now along.
        Ok(Ok(CalledOff::Done { url })) => {
            shared.reviews.merges_itself_no_more(key);
            Err(format!(
                "that {url} merges itself was called off, and what people are to see comes into it a moment later"
            ))
        }
        Ok(Ok(CalledOff::Refused { url, words })) => Err(format!(
            "{url} is to merge itself, and the forge does not let that be called off: {words}; it is closed within moments, or call it off there"
        )),
        Ok(Err(error)) => {
            Err(format!("whether the branch `{branch}` is merged by itself is not known: {}", error.with_cure()))
        }
        Err(_) => {
            Err(format!("whether the branch `{branch}` is merged by itself is not known: the forge takes too long"))
        }
    }
}
