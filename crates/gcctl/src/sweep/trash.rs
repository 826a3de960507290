//! Folders of the trash that a plan names, for good.

use std::time::SystemTime;

use jiff::Timestamp;

use super::Sweep;
use crate::error::Result;
use crate::plan::Emptied;

impl Sweep<'_> {
    /// Before anything moves: a full disk has room then.
    pub(super) fn empty_trash(&mut self) -> Result<()> {
        let trash = self.store.trash();
        // Where something came in since the plan was made, nothing goes.
        let came = |emptied: &&Emptied| {
            let filled = trash.filled(&emptied.name).and_then(|time| Timestamp::try_from(time).ok());
            filled.is_some_and(|filled| filled > self.plan.time && filled <= Timestamp::now())
        };
        let going: Vec<_> = self.plan.trash.iter().filter(|emptied| !came(emptied)).collect();
        if self.time.doubted.is_none() {
            trash.settle_times(SystemTime::now())?;
            self.images.settle_stamps()?;
        }
        for emptied in going {
            if self.stopped() {
                return Ok(());
            }
            trash.doom(&emptied.name)?;
            let bytes = trash.shred()?;
            self.swept.emptied.push(Emptied { bytes, ..emptied.clone() });
        }
        Ok(())
    }
}
