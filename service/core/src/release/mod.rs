//! The words of the domain as types: what a release is, what can be asked of it, what is seen of it and what shall become of it.
//!
//! No behaviour beyond a type's own validity: deciding is `plan` and `rollout`, writing out is `render`.

mod document;
mod environment;
mod image;
mod observed;
mod period;
mod plan;
mod quantity;
mod request;
mod serving;
mod strategy;
mod traffic;
mod validity;
mod wanted;
mod yaml;

#[cfg(test)]
mod tests;

pub use document::*;
pub use environment::ENV_NAMES_THAT_WIPE;
pub(crate) use environment::is_env_name;
pub use image::model_of_image;
pub use observed::*;
pub use period::Period;
pub use plan::*;
pub(crate) use quantity::{is_quantity, same_quantity};
pub use request::*;
pub use serving::*;
pub use strategy::*;
pub use traffic::*;
pub use validity::*;
#[cfg(test)]
pub(crate) use yaml::at_speed;
pub use yaml::to_yaml;
pub(crate) use yaml::{Node, quoted, read as read_yaml};
