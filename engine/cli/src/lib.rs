//! The redress commands.
