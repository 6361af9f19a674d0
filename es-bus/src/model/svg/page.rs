//! The text of a drawing: shapes with the classes that colour them, escaped as XML has it.

use std::fmt::{self, Write as _};

use super::{
    MARGIN,
    measure::{SMALL, columns_of, text_width},
};

/// The drawing, as it is written.
#[derive(Default)]
pub(super) struct Page {
    body: String,
    /// How far to the right something stands.
    pub(super) right: i32,
}

impl Page {
    fn write(&mut self, arguments: fmt::Arguments<'_>) {
        // A text takes whatever is written to it.
        let _ = self.body.write_fmt(arguments);
        self.body.push('\n');
    }

    /// Begins what has one tooltip.
    pub(super) fn open(&mut self, title: &str) {
        self.write(format_args!("<g><title>{}</title>", escaped(title)));
    }

    pub(super) fn shut(&mut self) {
        self.write(format_args!("</g>"));
    }

    pub(super) fn rect(&mut self, x: i32, y: i32, width: i32, height: i32, round: i32, class: &str) {
        self.write(format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"{round}\"/>"
        ));
    }

    pub(super) fn text(&mut self, x: i32, y: i32, class: &str, text: &str) {
        self.write(format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>", escaped(text)));
    }

    pub(super) fn path(&mut self, path: &str, class: &str) {
        self.write(format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
    }

    /// A path with a tip at its end.
    pub(super) fn arrow(&mut self, path: &str, class: &str) {
        let tip = if class == "dead" { "es-dead" } else { "es-to" };
        self.write(format_args!("<path class=\"{class}\" d=\"{path}\" marker-end=\"url(#{tip})\"/>"));
    }

    pub(super) fn dot(&mut self, x: i32, y: i32, class: &str) {
        self.write(format_args!("<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"4\"/>"));
    }

    /// The whole file.
    pub(super) fn close(self, summary: &str, description: &str, width: i32, height: i32) -> String {
        let (summary, description) = (escaped(summary), escaped(description));
        let width = width.max(2 * MARGIN + text_width(columns_of(&summary), SMALL)).max(self.right + MARGIN);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"es-bus\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"es-title es-desc\">\n\
             <title id=\"es-title\">Topology: {summary}</title>\n<desc id=\"es-desc\">{description}</desc>\n\
             <style>{STYLE}</style>\n<defs>{MARKERS}</defs>\n\
             <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
             <text class=\"title\" x=\"{MARGIN}\" y=\"42\">Topology</text>\n\
             <text class=\"small\" x=\"{MARGIN}\" y=\"62\">{summary}</text>\n{}</svg>\n",
            self.body
        )
    }
}

/// As XML has it; what XML has no way to write is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

const MARKERS: &str = "\
<marker id=\"es-to\" viewBox=\"0 0 8 8\" refX=\"6\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"tip\" d=\"M0 0L8 4L0 8Z\"/></marker>\
<marker id=\"es-dead\" viewBox=\"0 0 8 8\" refX=\"6\" refY=\"4\" markerWidth=\"8\" markerHeight=\"8\" \
markerUnits=\"userSpaceOnUse\" orient=\"auto\"><path class=\"tip-dead\" d=\"M0 0L8 4L0 8Z\"/></marker>";

/// Every rule names the class of the drawing, as it may stand in a page with rules of its own.
const STYLE: &str = "
.es-bus text{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,\"DejaVu Sans Mono\",\"Liberation Mono\",monospace;fill:#1f2733}
.es-bus .title{font:600 20px system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}
.es-bus .name{font-size:13px;font-weight:600}
.es-bus .key{font-size:12px}
.es-bus .small{font-size:11px;fill:#5b6675}
.es-bus .page{fill:#ffffff}
.es-bus .lane{fill:#f5f7fa}
.es-bus .card{fill:#ffffff;stroke:#cfd6e0}
.es-bus .panel{fill:#fff8ea;stroke:#ecd9ae}
.es-bus .chip{fill:#ffffff;stroke:#dcc48c}
.es-bus .ghost{stroke-dasharray:4 3}
.es-bus .queue{fill:#3b6fd4}
.es-bus .end{fill:#c8443c}
.es-bus .edge,.es-bus .dash,.es-bus .dead,.es-bus .rail,.es-bus .tap,.es-bus .halo{fill:none}
.es-bus .edge,.es-bus .dash{stroke:#7b8798;stroke-width:1.5}
.es-bus .dash{stroke-dasharray:5 4}
.es-bus .dead{stroke:#c8443c;stroke-width:1.5;stroke-dasharray:5 4}
.es-bus .tip{fill:#7b8798}
.es-bus .tip-dead{fill:#c8443c}
.es-bus .rail{stroke-width:3;stroke-linecap:round}
.es-bus .tap{stroke-width:1.5}
.es-bus .halo{stroke:#ffffff;stroke-width:6}
.es-bus .h0{fill:#e9f0fd;stroke:#3b6fd4}.es-bus .r0{stroke:#3b6fd4}.es-bus .d0{fill:#3b6fd4}
.es-bus .h1{fill:#e4f5ee;stroke:#16835a}.es-bus .r1{stroke:#16835a}.es-bus .d1{fill:#16835a}
.es-bus .h2{fill:#f3ebfb;stroke:#8250c4}.es-bus .r2{stroke:#8250c4}.es-bus .d2{fill:#8250c4}
.es-bus .h3{fill:#fdeee3;stroke:#b8621b}.es-bus .r3{stroke:#b8621b}.es-bus .d3{fill:#b8621b}
.es-bus .h4{fill:#e2f4f7;stroke:#12798a}.es-bus .r4{stroke:#12798a}.es-bus .d4{fill:#12798a}
.es-bus .h5{fill:#fce9f1;stroke:#b83a72}.es-bus .r5{stroke:#b83a72}.es-bus .d5{fill:#b83a72}
@media (prefers-color-scheme:dark){
.es-bus text{fill:#e6ebf2}
.es-bus .small{fill:#9aa7b8}
.es-bus .page{fill:#0f141b}
.es-bus .lane{fill:#161d27}
.es-bus .card{fill:#1d2632;stroke:#3a4657}
.es-bus .panel{fill:#272114;stroke:#55492a}
.es-bus .chip{fill:#1f1b12;stroke:#7a683a}
.es-bus .queue{fill:#6f9cf0}
.es-bus .end{fill:#ee7a70}
.es-bus .edge,.es-bus .dash{stroke:#8593a6}
.es-bus .dead{stroke:#ee7a70}
.es-bus .tip{fill:#8593a6}
.es-bus .tip-dead{fill:#ee7a70}
.es-bus .halo{stroke:#0f141b}
.es-bus .h0{fill:#182644;stroke:#6f9cf0}.es-bus .r0{stroke:#6f9cf0}.es-bus .d0{fill:#6f9cf0}
.es-bus .h1{fill:#12302a;stroke:#45bd8d}.es-bus .r1{stroke:#45bd8d}.es-bus .d1{fill:#45bd8d}
.es-bus .h2{fill:#2a1f3d;stroke:#b48bea}.es-bus .r2{stroke:#b48bea}.es-bus .d2{fill:#b48bea}
.es-bus .h3{fill:#382414;stroke:#e79a56}.es-bus .r3{stroke:#e79a56}.es-bus .d3{fill:#e79a56}
.es-bus .h4{fill:#0f2e35;stroke:#4bb8ca}.es-bus .r4{stroke:#4bb8ca}.es-bus .d4{fill:#4bb8ca}
.es-bus .h5{fill:#3a1a29;stroke:#ea7fac}.es-bus .r5{stroke:#ea7fac}.es-bus .d5{fill:#ea7fac}
}
";
