//! The repository over smart HTTP: Git's own `upload-pack` and `receive-pack` as children, streamed both ways.

use std::path::PathBuf;

use tokio::io::AsyncRead;
use tokio::sync::oneshot;

use crate::command::Git;

/// What a request wants to do with the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

/// A request below the repository's mount (`/git/gitops.git`).
pub struct SmartRequest {
    /// `GET` or `POST`.
    pub method: String,
    /// What follows the mount, for example `/info/refs`.
    pub path: String,
    /// The query without `?`, empty where there is none.
    pub query: String,
    pub content_type: Option<String>,
    /// `Content-Encoding`: this module decodes gzip itself, the caller hands over the body as it came.
    pub content_encoding: Option<String>,
    /// The `Git-Protocol` header.
    pub git_protocol: Option<String>,
    pub body: Box<dyn AsyncRead + Send + Unpin>,
}

/// The answer, to be sent while it comes.
pub struct SmartResponse {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Box<dyn AsyncRead + Send + Unpin>,
    /// Resolves (with an error, which means the same) once Git has ended, also when the client went away before: whether or
    /// not the answer was read, a push may have moved the branch by then.
    pub ended: oneshot::Receiver<()>,
}

/// The serving side of one repository.
pub struct SmartServer {
    git: Git,
    repository: PathBuf,
}

impl SmartServer {
    /// Serves a repository with a Git that was found.
    pub fn new(git: Git, repository: PathBuf) -> Self {
        Self { git, repository }
    }

    /// What a request wants, by its path alone, so that it can be authorised before anything is read; nothing for an unknown one (404).
    pub fn access(method: &str, path: &str, query: &str) -> Option<Access> {
        todo!()
    }

    /// Answers a request that is authorised.
    pub async fn serve(&self, request: SmartRequest) -> SmartResponse {
        todo!()
    }
}
