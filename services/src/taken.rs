//! Ids that another saga has used.
//!
//! Sagas make their own ids, but a client may send one along. A set that meets a taken id fails as a whole, and the
//! library runs its members one by one; alone, the member is refused for good. The same id from the *same* saga is no
//! business "no": the inbox should have answered it, so it stays an error.

use redress_core::Rejection;
use redress_participant::{Answer, HandlerError, HandlerOutcome, Tx};
use uuid::Uuid;

/// Answers a set of `members` of which those with these `ids` were to be written, and not all could be.
///
/// `owner` is the statement that tells to which saga an id belongs.
pub(crate) async fn taken<R>(
    tx: &mut Tx<'_>,
    what: &str,
    owner: &'static str,
    ids: &[Uuid],
    sagas: &[Uuid],
    members: usize,
) -> Result<Vec<HandlerOutcome<R>>, HandlerError> {
    let ([id], [saga], 1) = (ids, sagas, members) else {
        return Err(format!("a {what} of the set has an id that is taken; its members run one by one").into());
    };
    Ok(vec![owned(tx, what, owner, *id, *saga).await?])
}

/// Answers a command whose `id` could not be written, because it is taken: the same for one command alone.
pub(crate) async fn owned<R>(
    tx: &mut Tx<'_>,
    what: &str,
    owner: &'static str,
    id: Uuid,
    saga: Uuid,
) -> Answer<R> {
    let owner: Option<Uuid> = sqlx::query_scalar(owner).bind(id).fetch_optional(tx).await?;
    if owner == Some(saga) {
        return Err(
            format!("this very saga has made {what} {id} before, and the inbox does not know it").into()
        );
    }
    let message = format!("{what} {id} belongs to another saga");
    Ok(HandlerOutcome::Rejected(Rejection::new(format!("{what}-exists"), message)))
}
