//! The small controllers.
use crate::db::{Db, Options};

pub(crate) fn start(_db: &Db, _options: &Options) {}
