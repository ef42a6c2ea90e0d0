//! One step of a difference: statements, their way back, and how they must run.

/// How statements run, which decides what may stand in one migration with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) enum Mode {
    /// In a transaction with others.
    Together,
    /// In a transaction that ends before the new value of an enum is used.
    EnumValue,
    /// In batches of rows, outside a transaction, over this key (`schema.table.column`).
    Batches,
    /// Outside a transaction: `CONCURRENTLY`.
    Concurrently,
    /// In a transaction behind the one that added what is validated.
    Validate,
}

/// What a step is, for people and for the name of the migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Title {
    /// `+`, `-` or `~`, as Django marks them.
    pub(in super::super) sign: char,
    /// Such as `Add column allergens to menu_menuitem`.
    pub(in super::super) text: String,
    /// Words for a name, such as `menuitem_add_allergens`.
    pub(in super::super) words: String,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Operation {
    pub(in super::super) mode: Mode,
    pub(in super::super) up: Vec<String>,
    /// The way back, or why there is none.
    pub(in super::super) down: Result<Vec<String>, String>,
    pub(in super::super) title: Option<Title>,
    /// The key's column of [`Mode::Batches`].
    pub(in super::super) batch_key: Option<String>,
}

impl Operation {
    pub(in super::super) fn new(mode: Mode, up: Vec<String>, down: Vec<String>) -> Operation {
        Operation { mode, up, down: Ok(down), title: None, batch_key: None }
    }

    pub(in super::super) fn titled(mut self, sign: char, text: String, words: String) -> Operation {
        self.title = Some(Title { sign, text, words });
        self
    }

    pub(in super::super) fn irreversible(mut self, why: impl Into<String>) -> Operation {
        self.down = Err(why.into());
        self
    }
}
