//! How far a long piece of work has come: one line at the terminal, only where stderr is one, and
//! only once the work has taken half a second.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// So long nothing is shown.
const SILENCE: Duration = Duration::from_millis(500);

/// The line. It goes when this is dropped, at the latest.
#[derive(Debug)]
pub struct Bar {
    drawn: ProgressBar,
    begun: Instant,
    is_wanted: bool,
}

impl Bar {
    /// A line that looks as the template says (indicatif, "Templates"); with `quiet`, none.
    #[must_use]
    pub fn new(quiet: bool, template: &str) -> Self {
        let drawn = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        let bar = Self { drawn, begun: Instant::now(), is_wanted: !quiet && std::io::stderr().is_terminal() };
        bar.look(template);
        bar
    }

    /// Changes what it looks like.
    pub fn look(&self, template: &str) {
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.drawn.set_style(style);
    }

    /// How much there is in all.
    pub fn expect(&self, amount: u64) {
        self.drawn.set_length(amount);
    }

    /// So much more is done.
    pub fn advance(&self, amount: u64) {
        self.show();
        self.drawn.inc(amount);
    }

    /// What stands at the template's `{msg}`.
    pub fn say(&self, message: String) {
        self.show();
        self.drawn.set_message(message);
    }

    /// The line goes.
    pub fn end(&self) {
        self.drawn.finish_and_clear();
    }

    fn show(&self) {
        if self.is_wanted && self.drawn.is_hidden() && self.begun.elapsed() > SILENCE {
            self.drawn.set_draw_target(ProgressDrawTarget::stderr());
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.end();
    }
}
