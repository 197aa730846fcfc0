//! Bounds that the doors, the worker and the command line share.

/// The longest body that a door takes, in bytes: MLflow and GitHub send a few kilobytes; a release with every setting has some tens.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How far a signed time may lie from the present, in seconds either way: the window of MLflow's own sample and of Standard Webhooks.
pub const SIGNED_WINDOW_SECONDS: i64 = 300;

/// The most items of a page.
pub const PAGE_MAX: u32 = 100;

/// How long a caller should wait before it asks again what is busy or fails, in seconds.
pub const RETRY_AFTER_SECONDS: u32 = 5;

/// How many digits of a commit people are shown, and may name it by: Git's own short form.
pub const SHORT_COMMIT_DIGITS: usize = 7;
