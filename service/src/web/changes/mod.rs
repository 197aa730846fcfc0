//! Releases, changed: each change becomes a durable request, and the answer is its commit.

mod acts;
mod answer;
mod put;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Web;

pub(super) use acts::act;
pub(super) use answer::{Asked, carry_out};
#[cfg(test)]
pub(super) use put::WRITTEN_BY_THE_SERVICE;

pub(super) fn router() -> OpenApiRouter<Web> {
    OpenApiRouter::new()
        .routes(routes!(put::put, put::retract))
        .routes(routes!(acts::advance))
        .routes(routes!(acts::promote))
        .routes(routes!(acts::abort))
        .routes(routes!(acts::rollback))
        .routes(routes!(acts::pause))
        .routes(routes!(acts::resume))
        .routes(routes!(acts::weights))
}
