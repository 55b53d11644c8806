//! An error and its causes as one line.

use std::error::Error;

/// The message of an error and those of its sources, with colons between them, for logs, answers and dead letters.
///
/// A source whose text the line holds already is left out: some libraries repeat it in their own message.
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !line.contains(&said) {
            line.push_str(": ");
            line.push_str(&said);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use thiserror::Error;

    use super::with_causes;

    #[derive(Debug, Error)]
    #[error("the disk is full")]
    struct Disk;
    #[derive(Debug, Error)]
    #[error("the file could not be written: {0}")]
    struct Repeats(#[source] Disk);
    #[derive(Debug, Error)]
    #[error("the order was not stored")]
    struct Order(#[source] Repeats);

    #[test]
    fn causes_stand_in_one_line_and_none_twice() {
        let line = with_causes(&Order(Repeats(Disk)));
        assert_eq!(line, "the order was not stored: the file could not be written: the disk is full");
        assert_eq!(with_causes(&Disk), "the disk is full");
    }
}
