//! The places of steps in the orders of their keys, in memory: the same rows and the same moves as on Postgres.

use std::collections::BTreeSet;

use redress_coordinator::ports::{NewPlace, PlaceChange, PlaceMark};
use redress_core::{Name, SagaId};

use super::place_row::{PlaceRow, Standing};
use super::tables::Tables;

impl Tables {
    /// Takes the places of a saga that begins.
    pub(super) fn take_places(&mut self, id: SagaId, places: Vec<NewPlace>) {
        let rows = places.into_iter().map(|place| PlaceRow { id, place, standing: Standing::New });
        self.places.extend(rows);
    }

    /// Writes where places stand now; one that was let go stays so.
    pub(super) fn write_places(&mut self, changes: &[PlaceChange]) {
        for change in changes {
            let is_it = |row: &&mut PlaceRow| {
                row.id == change.id && row.place.step == change.step && row.standing != Standing::LetGo
            };
            for row in self.places.iter_mut().filter(is_it) {
                row.standing = match change.mark {
                    PlaceMark::First => Standing::First,
                    PlaceMark::LetGo => Standing::LetGo,
                };
            }
        }
    }

    /// The first place of the key of this one.
    fn head(&self, of: &PlaceRow) -> Option<&PlaceRow> {
        self.places.iter().find(|row| row.is_of_key_of(of) && row.standing != Standing::LetGo)
    }

    /// The first places of keys in which something has changed, whose sagas are of these versions and do not know it.
    pub(super) fn untold_places(&self, versions: &[(Name, u32)], limit: usize) -> Vec<(SagaId, Name)> {
        let changed = self.places.iter().filter(|row| row.has_changed());
        let heads = changed.filter_map(|row| self.head(row));
        let is_untold = |row: &&PlaceRow| matches!(row.standing, Standing::New | Standing::Waiting);
        let is_known =
            |row: &&PlaceRow| self.rows.get(&row.id).is_some_and(|saga| versions.contains(&saga.definition));
        let untold: BTreeSet<(SagaId, Name)> =
            heads.filter(is_untold).filter(is_known).map(|row| (row.id, row.place.step.clone())).collect();
        untold.into_iter().take(limit).collect()
    }

    /// Forgets what was let go in keys whose first saga knows that it is the first, and marks what stands behind another.
    pub(super) fn tidy_places(&mut self, limit: usize) -> u64 {
        let is_tidy = |(index, row): &(usize, &PlaceRow)| match row.standing {
            Standing::LetGo => self.head(row).is_none_or(|head| head.standing == Standing::First),
            Standing::New => {
                let mut before = self.places[..*index].iter();
                before.any(|other| other.is_of_key_of(row) && other.standing != Standing::LetGo)
            }
            Standing::Waiting | Standing::First => false,
        };
        let tidy: Vec<usize> =
            self.places.iter().enumerate().filter(is_tidy).take(limit).map(|(index, _)| index).collect();
        for index in tidy.iter().rev() {
            if self.places[*index].standing == Standing::LetGo {
                self.places.remove(*index);
            } else {
                self.places[*index].standing = Standing::Waiting;
            }
        }
        tidy.len() as u64
    }

    /// How many places are not the first of their keys.
    pub(super) fn places_waiting(&self) -> usize {
        let waits = |row: &&PlaceRow| matches!(row.standing, Standing::New | Standing::Waiting);
        self.places.iter().filter(waits).count()
    }

    /// The saga that holds the key of this step, if it is another one.
    pub(super) fn place_holder(&self, id: SagaId, step: &Name) -> Option<SagaId> {
        let mine = self.places.iter().position(|row| row.id == id && row.place.step == *step)?;
        let is_before =
            |row: &&PlaceRow| row.is_of_key_of(&self.places[mine]) && row.standing != Standing::LetGo;
        self.places[..mine].iter().find(is_before).map(|row| row.id)
    }

    /// Returns true if nothing has changed in any key.
    pub(super) fn places_are_still(&self) -> bool {
        !self.places.iter().any(PlaceRow::has_changed)
    }
}
