//! How errors look on stderr.

use std::io::{self, IsTerminal};

use miette::MietteHandlerOpts;

use crate::Color;

/// Sets up how errors are printed: in colour or not, and with no line broken, so that a path or a
/// command in one can be copied.
pub fn set_up(color: Color) {
    let color = color.is_wanted(io::stderr().is_terminal());
    let hook = move |_: &_| {
        let options = MietteHandlerOpts::new().wrap_lines(false).terminal_links(false).color(color);
        Box::new(options.build()) as Box<dyn miette::ReportHandler>
    };
    // Fails only where another hook was set before, and none was.
    let _ = miette::set_hook(Box::new(hook));
}
