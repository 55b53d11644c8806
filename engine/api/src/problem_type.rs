//! The types of problems: one table of words, statuses and titles. `docs/operations.md` says what to do about each.

use axum::http::StatusCode;

macro_rules! problem_types {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $status:ident, $title:literal;)+) => {
        /// The type of a problem, as its `type` says it after `/problems/`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ProblemType {
            $($(#[$doc])* $variant,)+
        }

        impl ProblemType {
            /// All types.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// A stable word for programs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The HTTP status that goes with it.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$variant => StatusCode::$status,)+ }
            }

            /// A few words for people, the same each time.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }
    };
}

problem_types! {
    /// A header stands twice.
    AmbiguousHeader = "ambiguous-header", BAD_REQUEST, "A header is ambiguous";
    /// A name stands twice in a JSON object.
    AmbiguousJson = "ambiguous-json", UNPROCESSABLE_ENTITY, "The body is ambiguous";
    /// A query parameter stands twice.
    AmbiguousQuery = "ambiguous-query", BAD_REQUEST, "The query is ambiguous";
    /// The body is larger than any input may be.
    BodyTooLarge = "body-too-large", PAYLOAD_TOO_LARGE, "The body is too large";
    /// The pivot was sent, or the saga has ended.
    CancelTooLate = "cancel-too-late", CONFLICT, "It is too late to cancel";
    /// An operator command does not fit the saga's state.
    CommandRefused = "command-refused", CONFLICT, "The command does not fit the saga";
    /// A page of another site asked.
    CrossSite = "cross-site", FORBIDDEN, "Another site may not ask anything here";
    /// The journal does not answer; nothing is lost.
    DatabaseUnavailable = "database-unavailable", SERVICE_UNAVAILABLE, "The database is not available";
    /// A dead letter may not be replayed or discarded.
    DeadLetterRefused = "dead-letter-refused", CONFLICT, "That cannot be done with the dead letter";
    /// A closure of the definition fails on the saga's data.
    DefinitionFailed = "definition-failed", CONFLICT, "The definition fails on this saga's data";
    /// This coordinator takes no new sagas.
    Draining = "draining", SERVICE_UNAVAILABLE, "No new sagas here";
    /// A saga has no use for an event.
    EventRefused = "event-refused", CONFLICT, "The saga has no use for the event";
    /// This installation injects no failures.
    FaultsNotAllowed = "faults-not-allowed", FORBIDDEN, "Failures are not injected here";
    /// The `Host` is not one that the API answers to.
    ForeignHost = "foreign-host", MISDIRECTED_REQUEST, "This API is for this machine";
    /// The key belongs to another start.
    IdempotencyKeyReused = "idempotency-key-reused", UNPROCESSABLE_ENTITY, "The key belongs to another start";
    /// An operator command names no revision.
    IfMatchRequired = "if-match-required", PRECONDITION_REQUIRED, "The command must name a revision";
    /// A defect.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something is wrong in the coordinator";
    /// A member of the body is missing, unknown or of the wrong type.
    InvalidBody = "invalid-body", UNPROCESSABLE_ENTITY, "The body does not fit";
    /// The cursor is not one that the API gave.
    InvalidCursor = "invalid-cursor", BAD_REQUEST, "The cursor is unusable";
    /// An event is not of the type that its step waits for.
    InvalidEvent = "invalid-event", UNPROCESSABLE_ENTITY, "The event does not fit";
    /// A fault makes no sense, or reaches no step.
    InvalidFault = "invalid-fault", UNPROCESSABLE_ENTITY, "The faults are unusable";
    /// The key is empty, too long or not visible ASCII.
    InvalidIdempotencyKey = "invalid-idempotency-key", BAD_REQUEST, "The Idempotency-Key is unusable";
    /// `If-Match` is neither `*` nor a list of tags.
    InvalidIfMatch = "invalid-if-match", BAD_REQUEST, "The If-Match is unusable";
    /// The input does not fit the definition.
    InvalidInput = "invalid-input", UNPROCESSABLE_ENTITY, "The input does not fit the definition";
    /// A parameter of the path cannot be read.
    InvalidPath = "invalid-path", BAD_REQUEST, "The path is unusable";
    /// A query parameter is unknown or unusable.
    InvalidQuery = "invalid-query", BAD_REQUEST, "The query is unusable";
    /// The reply of a resolution does not fit the step.
    InvalidReply = "invalid-reply", UNPROCESSABLE_ENTITY, "The reply does not fit";
    /// A tag's name or value is unusable.
    InvalidTag = "invalid-tag", UNPROCESSABLE_ENTITY, "A tag is unusable";
    /// The body is not JSON.
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not JSON";
    /// The request has no `Host`.
    MissingHost = "missing-host", BAD_REQUEST, "The Host is missing";
    /// A start or an event has no `Idempotency-Key`.
    MissingIdempotencyKey = "missing-idempotency-key", BAD_REQUEST, "An Idempotency-Key is needed";
    /// The process cannot go on.
    NotAlive = "not-alive", SERVICE_UNAVAILABLE, "This process cannot go on";
    /// The broker did not take the message of a dead letter.
    NotPublished = "not-published", SERVICE_UNAVAILABLE, "The broker did not take the message";
    /// The `Content-Type` is not JSON.
    NotJson = "not-json", UNSUPPORTED_MEDIA_TYPE, "The body must be JSON";
    /// The database or the broker is missing.
    NotReady = "not-ready", SERVICE_UNAVAILABLE, "Something is missing";
    /// The body came too slowly.
    SlowBody = "slow-body", REQUEST_TIMEOUT, "The body came too slowly";
    /// The saga has moved since the operator looked.
    StaleRevision = "stale-revision", PRECONDITION_FAILED, "The saga has moved on";
    /// There is no room for one more connection.
    TooManyConnections = "too-many-connections", SERVICE_UNAVAILABLE, "No room for one more";
    /// The token is missing or wrong.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A token is needed";
    /// There is no dead letter of this id.
    UnknownDeadLetter = "unknown-dead-letter", NOT_FOUND, "No such dead letter";
    /// No such saga or version is known here.
    UnknownDefinition = "unknown-definition", NOT_FOUND, "No such saga definition";
    /// The saga's definition waits for no event of this name.
    UnknownEvent = "unknown-event", UNPROCESSABLE_ENTITY, "No such event";
    /// There is no standing fault of this number.
    UnknownFault = "unknown-fault", NOT_FOUND, "No such fault";
    /// There is no such path.
    UnknownPath = "unknown-path", NOT_FOUND, "No such path";
    /// There is no saga of this id.
    UnknownSaga = "unknown-saga", NOT_FOUND, "No such saga";
    /// The saga has no such step.
    UnknownStep = "unknown-step", UNPROCESSABLE_ENTITY, "No such step";
    /// The body broke off.
    UnreadableBody = "unreadable-body", BAD_REQUEST, "The body could not be read";
    /// This coordinator does not know the saga's version.
    VersionNotHere = "version-not-here", CONFLICT, "The saga's version is not known here";
    /// The path takes another method.
    WrongMethod = "wrong-method", METHOD_NOT_ALLOWED, "The path takes another method";
}
