//! The report as one HTML page: nothing is loaded, no script is in it, and it prints.
//!
//! `page.html` is the template, `style.css` its look; `view` holds the words and numbers that they show.

mod timeline;
mod view;

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};

use super::rehearsal::RehearsalReport;

/// The template's name; its ending switches escaping on.
const PAGE: &str = "page.html";

/// The page. Every text of the report is escaped; samples are shown when the report has some.
///
/// # Errors
/// Only a fault in the template, which the tests would have shown.
pub fn page(report: &RehearsalReport) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_template(PAGE, include_str!("page.html"))?;
    let style = Value::from_safe_string(include_str!("style.css").to_owned());
    let page = Value::from(Serde(view::of(report)));
    environment.get_template(PAGE)?.render(context! { style, ..page })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample_report::{HOSTILE, hostile, plain};

    #[test]
    fn every_text_is_escaped() {
        let page = page(&hostile()).unwrap();
        assert!(!page.contains(HOSTILE) && !page.contains("<script"), "a name came through as markup");
        let escaped = "&lt;script&gt;alert(1)&lt;&#x2f;script&gt;";
        assert!(page.matches(escaped).count() > 20, "{}", page.matches(escaped).count());
        assert!(!page.contains("\" onmouseover=\"") && page.contains("&quot; onmouseover=&quot;"));
    }

    #[test]
    fn nothing_is_loaded_and_no_script_runs() {
        let page = page(&plain()).unwrap();
        for word in ["src=", "href=", "<script", "url(", "@import", "http:", "https:"] {
            assert!(!page.contains(word), "{word}");
        }
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    }

    #[test]
    fn it_says_who_waits_what_is_lost_and_whether_there_is_a_way_back() {
        let page = page(&plain()).unwrap();
        for words in [
            "<h1>Pass with findings</h1>",
            "<strong class=\"name\">public.orders</strong>: reads and writes blocked for 4.2 s",
            "line 3 of shop&#x2f;0002_x",
            "Times are estimates",
            "table public.old is gone with 2 rows",
            "1.0 MB",
            "+1.0 MB",
            "Not reversible",
        ] {
            assert!(page.contains(words), "{words}\n{page}");
        }
    }
}
