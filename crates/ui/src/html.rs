//! The few building blocks of a page. Every text is escaped where it enters.

use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1180px;padding:0 20px 40px;\
color:#1d2330;background:#fff}header{border-bottom:3px solid #c8922a;margin-bottom:18px;padding:14px 0 8px}\
h1{font-size:22px;margin:0}h2{font-size:17px;margin:26px 0 6px}dl{display:grid;grid-template-columns:max-content 1fr;\
gap:2px 16px;margin:0}dt{color:#5b6472}dd{margin:0}table{border-collapse:collapse;width:100%}th,td{text-align:left;\
padding:5px 10px;border-bottom:1px solid #e3e6ea}th{background:#f5f6f8;font-weight:600}pre{background:#f5f6f8;\
padding:10px;overflow:auto}a{color:#94600a}footer{color:#8a919c;margin-top:30px;font-size:13px}";

/// A piece of HTML that is safe to put into a page.
#[derive(Debug, Clone, Default)]
pub struct Html(String);

impl Html {
    /// Text, escaped.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self(escape(text.as_ref()))
    }

    /// A link; addresses other than `http`, `https` and local ones are shown as text only.
    pub fn link(address: &str, text: &str) -> Self {
        let is_safe = address.starts_with("http://")
            || address.starts_with("https://")
            || address.starts_with('/');
        if is_safe {
            Self(format!(
                "<a href=\"{}\">{}</a>",
                escape(address),
                escape(text)
            ))
        } else {
            Self::text(text)
        }
    }

    /// A button that posts values to an address of this server.
    pub fn button(action: &str, label: &str, values: &[(&str, &str)]) -> Self {
        let mut html = format!("<form method=\"post\" action=\"{}\">", escape(action));
        for (name, value) in values {
            let _ = write!(
                html,
                "<input type=\"hidden\" name=\"{}\" value=\"{}\">",
                escape(name),
                escape(value)
            );
        }
        let _ = write!(html, "<button>{}</button></form>", escape(label));
        Self(html)
    }

    /// Text in its own line breaks.
    pub fn preformatted(text: &str) -> Self {
        Self(format!("<pre>{}</pre>", escape(text)))
    }

    /// Names and values.
    pub fn facts(facts: &[(&str, Html)]) -> Self {
        let mut html = String::from("<dl>");
        for (name, value) in facts {
            let _ = write!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), value.0);
        }
        html.push_str("</dl>");
        Self(html)
    }

    /// A table under a heading that tells the number of its rows.
    pub fn table(heading: &str, columns: &[&str], rows: &[Vec<Html>]) -> Self {
        let mut html = format!(
            "<h2>{} ({})</h2><table><thead><tr>",
            escape(heading),
            rows.len()
        );
        for column in columns {
            let _ = write!(html, "<th>{}</th>", escape(column));
        }
        html.push_str("</tr></thead><tbody>");
        for row in rows {
            html.push_str("<tr>");
            for cell in row {
                let _ = write!(html, "<td>{}</td>", cell.0);
            }
            html.push_str("</tr>");
        }
        html.push_str("</tbody></table>");
        Self(html)
    }

    /// This, then `other`.
    #[must_use]
    pub fn then(mut self, other: &Html) -> Self {
        self.0.push_str(&other.0);
        self
    }

    /// A whole page around this.
    pub fn page(self, title: &str) -> axum::response::Html<String> {
        let title = escape(title);
        axum::response::Html(format!(
            "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style>\
             </head><body><header><h1>{title}</h1></header>{}<footer>Pyrite {}</footer></body></html>",
            self.0,
            env!("CARGO_PKG_VERSION"),
        ))
    }
}

/// Text with the characters replaced that mean something in HTML.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A size for people, such as `1.5 GiB`.
pub fn mebibytes(mib: u64) -> String {
    if mib < 1024 {
        return format!("{mib} MiB");
    }
    format!("{}.{} GiB", mib / 1024, mib % 1024 * 10 / 1024)
}

/// A duration for people, such as `4.2 s` or `3 min`.
pub fn duration(milliseconds: i64) -> String {
    match milliseconds {
        ..1_000 => format!("{} ms", milliseconds.max(0)),
        1_000..60_000 => format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100),
        60_000..3_600_000 => format!("{} min", milliseconds / 60_000),
        _ => format!(
            "{}.{} h",
            milliseconds / 3_600_000,
            milliseconds % 3_600_000 / 360_000
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_users_stay_texts() {
        let page = Html::text("<script>")
            .then(&Html::link("javascript:alert(1)", "a\"b"))
            .page("x & y");
        assert!(page.0.contains("&lt;script&gt;") && !page.0.contains("<script>"));
        assert!(!page.0.contains("javascript:") && page.0.contains("a&quot;b"));
        assert!(page.0.contains("<title>x &amp; y</title>"));
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(mebibytes(512), "512 MiB");
        assert_eq!(mebibytes(1536), "1.5 GiB");
        assert_eq!(duration(900), "900 ms");
        assert_eq!(duration(4_250), "4.2 s");
        assert_eq!(duration(200_000), "3 min");
        assert_eq!(duration(5_400_000), "1.5 h");
    }
}
