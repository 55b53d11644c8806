//! The queries that many probes may share.

use crate::ports::OpenSagas;
use crate::shared_look::SharedLook;

/// The number of sagas by definition, version and status.
pub(crate) type Census = Vec<(String, u32, String, i64)>;

/// The queries that many probes may share.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) readiness: SharedLook<(String, Vec<OpenSagas>)>,
    /// `None` if the database did not answer.
    pub(crate) open: SharedLook<Option<Vec<OpenSagas>>>,
    pub(crate) census: SharedLook<Option<Census>>,
}
