//! The sources themselves: layout, words, circles, documents and what the facade shows.

mod circles;
mod facade;
mod pages;
mod soak_rules;
mod tidy;
mod vocabulary;
