//! Templates of one release: MiniJinja here against jinja2 there, the same texts and the same context.

use crate::Bench;
use crate::report::Report;

pub fn measure(_bench: &Bench, _report: &mut Report) {}
