//! Claims about the render, from the document to the files.

mod dashboards;
mod goldens;
mod hostile;
mod pod_hashes;
mod reading;
mod refusals;
mod samples;
mod semantics;
mod template_set;
