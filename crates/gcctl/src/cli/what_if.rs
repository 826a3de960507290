//! `gcctl what-if`.

use clap::{Args, ValueEnum};
use gcctl::commands::WhatIf;
use gcctl::replay::Order;
use storekit::ByteSize;

/// Which limits are tried.
#[derive(Args)]
pub(super) struct WhatIfArgs {
    /// A limit of bytes for images and packages together: 20GB; may be given several times, which
    /// compares them
    #[arg(long, value_name = "SIZE", required = true)]
    max_size: Vec<ByteSize>,
    /// What would go first: what is unused for longest (of what was used at the same time, what was
    /// used least), or what is cheapest to have again for its uses and bytes
    #[arg(long, value_enum, default_value_t)]
    order: WrittenOrder,
    /// So many days, today included
    #[arg(long, value_name = "N", default_value = "7", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum WrittenOrder {
    #[default]
    Lru,
    Cost,
}

impl WhatIfArgs {
    pub(super) fn wanted(&self) -> WhatIf {
        let order = match self.order {
            WrittenOrder::Lru => Order::Lru,
            WrittenOrder::Cost => Order::Cost,
        };
        WhatIf { limits: self.max_size.clone(), order, days: self.days }
    }
}
