//! The conveyor from the outside.
