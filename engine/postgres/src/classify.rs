//! The classes of failures that the driver reports.
//!
//! Each SQLSTATE stands in one class, here alone. What a class means differs by the work: a statement that was ended
//! because it took too long is the author's affair in a handler, and trouble that passes in the journal.

use sqlx::Error;

use crate::error::is_of_a_reader;

/// The class of a failure, by its remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// Two transactions met: the same again will do.
    Collision,
    /// Another transaction holds a row for longer than was waited for.
    Held,
    /// The server only reads, as a standby does: on another connection, later.
    ReadsOnly,
    /// There is no connection, or it was lost: later.
    Down,
    /// The server has run out of disk, memory or connections: later.
    Exhausted,
    /// A right, a table or a column is missing, which an operator grants or creates.
    Unready,
    /// The server ended the statement or the transaction, because it took too long or an operator said so.
    CutOff,
    /// The server lets this role or this database in no more, or fails beneath the database.
    Closed,
    /// The statement itself is wrong, or its data are.
    Refused,
}

/// Sorts a failure of the driver.
pub fn classify(error: &Error) -> FailureClass {
    match error {
        _ if is_of_a_reader(error) => FailureClass::ReadsOnly,
        Error::Database(database) => {
            database.code().as_deref().map_or(FailureClass::Refused, class_of_sqlstate)
        }
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => FailureClass::Down,
        _ => FailureClass::Refused,
    }
}

fn class_of_sqlstate(code: &str) -> FailureClass {
    match code {
        // Serialization failure, deadlock.
        "40001" | "40P01" => FailureClass::Collision,
        // Lock not available in time.
        "55P03" => FailureClass::Held,
        // A right, a table, a column.
        "42501" | "42P01" | "42703" => FailureClass::Unready,
        // Transaction ended by a timeout, as of a process that was stopped and went on.
        "25P03" | "25P04" => FailureClass::CutOff,
        // No such database; a database that takes no connections.
        "3D000" | "55000" => FailureClass::Closed,
        _ => match &code[..code.floor_char_boundary(2)] {
            // Connection exceptions.
            "08" => FailureClass::Down,
            // No disk, no memory, no connections.
            "53" => FailureClass::Exhausted,
            // Shutdown, start-up, crash.
            "57" if code.starts_with("57P") => FailureClass::Down,
            // Statement timeout, an operator's cancel.
            "57" => FailureClass::CutOff,
            // Not let in; errors of the system beneath.
            "28" | "58" => FailureClass::Closed,
            _ => FailureClass::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sqlstate_has_one_class() {
        let table = [
            ("40001", FailureClass::Collision),
            ("40P01", FailureClass::Collision),
            ("55P03", FailureClass::Held),
            ("42501", FailureClass::Unready),
            ("42P01", FailureClass::Unready),
            ("42703", FailureClass::Unready),
            ("25P03", FailureClass::CutOff),
            ("57014", FailureClass::CutOff),
            ("3D000", FailureClass::Closed),
            ("55000", FailureClass::Closed),
            ("28P01", FailureClass::Closed),
            ("58030", FailureClass::Closed),
            ("08006", FailureClass::Down),
            ("57P01", FailureClass::Down),
            ("53100", FailureClass::Exhausted),
            ("53300", FailureClass::Exhausted),
            ("23505", FailureClass::Refused),
            ("42883", FailureClass::Refused),
            ("22P02", FailureClass::Refused),
            ("é", FailureClass::Refused),
            ("", FailureClass::Refused),
        ];
        for (code, class) in table {
            assert_eq!(class_of_sqlstate(code), class, "{code}");
        }
    }

    #[test]
    fn lost_connection_is_down_and_missing_row_is_refused() {
        assert_eq!(classify(&Error::PoolTimedOut), FailureClass::Down);
        assert_eq!(classify(&crate::silence(std::time::Duration::ZERO)), FailureClass::Down);
        assert_eq!(classify(&crate::only_reads()), FailureClass::ReadsOnly);
        assert_eq!(classify(&Error::RowNotFound), FailureClass::Refused);
    }
}
