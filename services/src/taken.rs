//! Ids that another saga has used.
//!
//! Sagas make their own ids, but a client may send one along. A set that meets a taken id fails as a whole, and the
//! library runs its members one by one; alone, the member is refused for good. The same id from the *same* saga is no
//! business "no": the inbox should have answered it, so it stays an error.

use redress_core::Rejection;
use redress_participant::{HandlerError, Outcome, Tx};
use uuid::Uuid;

/// Answers a set of `members` of which those with these `ids` were to be written, and not all could be.
///
/// `owner` is the statement that tells whose saga an id is.
pub(crate) async fn taken<R>(
    tx: &mut Tx<'_>,
    what: &str,
    owner: &'static str,
    ids: &[Uuid],
    sagas: &[Uuid],
    members: usize,
) -> Result<Vec<Outcome<R>>, HandlerError> {
    let ([id], [saga], 1) = (ids, sagas, members) else {
        return Err(format!("a {what} of the set has an id that is taken; its members run one by one").into());
    };
    let owner: Option<Uuid> = sqlx::query_scalar(owner).bind(id).fetch_optional(&mut **tx).await?;
    if owner == Some(*saga) {
        return Err(
            format!("this very saga has made {what} {id} before, and the inbox does not know it").into()
        );
    }
    let message = format!("{what} {id} belongs to another saga");
    Ok(vec![Outcome::Rejected(Rejection::new(format!("{what}-exists"), message))])
}
