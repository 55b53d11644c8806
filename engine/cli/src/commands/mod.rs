//! One file per command.

pub(crate) mod begin;
pub(crate) mod chaos;
pub(crate) mod completions;
pub(crate) mod dead_letters;
pub(crate) mod definitions;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod migrate;
pub(crate) mod new;
pub(crate) mod operator;
pub(crate) mod service;
pub(crate) mod show;
pub(crate) mod start;
pub(crate) mod up;
pub(crate) mod watch;
