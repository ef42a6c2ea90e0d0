//! What a command takes away that held nothing when it was rehearsed: what it holds now is counted before a stored rehearsal
//! is believed.

use crate::postgres::contents::Tables;
use crate::postgres::{Session, row_counts};
use crate::report::format_count;
use crate::report::rehearsal::Loss;

use super::super::rehearse::data_effect::successor;
use super::super::rehearse::{Taken, WhyNot};

/// Tables and columns that are gone, and of which no loss is said.
pub(super) fn without_loss(before: &Tables, after: &Tables, losses: &[Loss]) -> Vec<Taken> {
    let mut taken = Vec::new();
    for (oid, old) in before {
        let one = |column| Taken { schema: old.schema.clone(), table: old.name.clone(), column };
        match successor(*oid, old, before, after) {
            (None, _) => taken.push(one(None)),
            (Some((_, new)), is_same) => {
                let gone = old.columns.iter().filter(|(number, column)| match is_same {
                    true => !new.columns.contains_key(number),
                    false => new.number_of(&column.name).is_none(),
                });
                taken.extend(gone.map(|(_, column)| one(Some(column.name.clone()))));
            }
        }
    }
    taken.retain(|one| !losses.iter().any(|loss| loss.object == one.to_string()));
    taken
}

/// The first of these that holds something now.
pub(super) async fn loss_of_now(taken: &[Taken], production: &Session) -> Option<WhyNot> {
    for one in taken {
        let counted = row_counts::in_time(production, (&one.schema, &one.table), one.column.as_deref()).await;
        let amount = match counted {
            Ok(0) => continue,
            Ok(amount) => format_count(amount),
            Err(_) => "what could not be counted".to_owned(),
        };
        return Some(WhyNot::LossOfNow { object: one.to_string(), amount });
    }
    None
}
