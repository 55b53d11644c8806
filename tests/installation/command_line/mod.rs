//! The commands of the binary, as programs and people use them.

mod bench;
mod chaos;
mod commands;
mod terminal;
