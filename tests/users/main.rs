//! Crates of users, built as members of a workspace like ours: one of the templates, and one that knows the facade alone.

#[path = "../support/lookalike.rs"]
mod lookalike;
mod new_project;
mod outside_crate;
