//! The syntax of `java.util.Properties`, which `spark-defaults.conf` is written in.

/// One setting of a properties file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// Line on which the setting starts, from 1.
    pub line: usize,
    /// The key, escapes resolved.
    pub key: String,
    /// The value, escapes resolved and surrounding blanks removed as Spark does.
    pub value: String,
}

/// A line that cannot be read: its number, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PropertiesError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// Parses the text of a properties file, in file order, later duplicates included.
///
/// Keys end at the first unescaped `=`, `:` or blank; `#` and `!` start comments; a line that ends
/// in an odd number of backslashes goes on in the next one, whose leading blanks are dropped.
///
/// # Errors
/// On a `\u` escape without four hexadecimal digits.
pub fn parse(text: &str) -> Result<Vec<Property>, PropertiesError> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let line = index + 1;
        let start = first.trim_start_matches(is_blank);
        if start.is_empty() || start.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = start.to_owned();
        while continues(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start_matches(is_blank)),
                None => break,
            }
        }
        properties.push(split(&logical, line)?);
    }
    Ok(properties)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\u{c}')
}

fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn split(logical: &str, line: usize) -> Result<Property, PropertiesError> {
    let mut escaped = false;
    let end = logical
        .char_indices()
        .find(|(_, c)| {
            let ends = !escaped && (matches!(c, '=' | ':') || is_blank(*c));
            escaped = *c == '\\' && !escaped;
            ends
        })
        .map_or(logical.len(), |(at, _)| at);
    let rest = logical[end..].trim_start_matches(is_blank);
    let value = rest
        .strip_prefix(['=', ':'])
        .unwrap_or(rest)
        .trim_start_matches(is_blank);
    Ok(Property {
        line,
        key: unescape(&logical[..end], line)?,
        value: unescape(value, line)?
            .trim_matches(|c: char| c <= ' ' && c != '\r' && c != '\n')
            .to_owned(),
    })
}

fn unescape(text: &str, line: usize) -> Result<String, PropertiesError> {
    // Java's escapes are UTF-16 units: a character outside the basic plane takes two of them.
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut buffer = [0; 2];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => match chars.next() {
                Some('t') => '\t',
                Some('n') => '\n',
                Some('r') => '\r',
                Some('f') => '\u{c}',
                Some('u') => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let unit = (digits.len() == 4)
                        .then(|| u16::from_str_radix(&digits, 16).ok())
                        .flatten()
                        .ok_or_else(|| PropertiesError {
                            line,
                            message: format!(
                                "`\\u{digits}` is not `\\u` and four hexadecimal digits"
                            ),
                        })?;
                    units.push(unit);
                    continue;
                }
                Some(other) => other,
                None => break,
            },
            other => other,
        };
        units.extend_from_slice(plain.encode_utf16(&mut buffer));
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text)
            .unwrap()
            .into_iter()
            .map(|p| (p.key, p.value))
            .collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn all_three_separators_split_key_and_value() {
        let text = "spark.a  1\nspark.b=2\nspark.c : 3 \n\tspark.d\t=\t4=5:6\nspark.e\n";
        assert_eq!(
            pairs(text),
            [
                pair("spark.a", "1"),
                pair("spark.b", "2"),
                pair("spark.c", "3"),
                pair("spark.d", "4=5:6"),
                pair("spark.e", ""),
            ]
        );
    }

    #[test]
    fn comments_are_whole_lines_only() {
        assert_eq!(
            pairs("# one\n  ! two\nspark.a 1 # three\n"),
            [pair("spark.a", "1 # three")]
        );
    }

    #[test]
    fn an_odd_backslash_continues_the_line_and_numbers_stay_right() {
        let text = "spark.list a,\\\n    b,\\\n    c\nspark.path C:\\\\\nspark.z 1\n";
        let found = parse(text).unwrap();
        assert_eq!(found[0].value, "a,b,c");
        assert_eq!(found[1].value, "C:\\");
        assert_eq!((found[1].line, found[2].line), (4, 5));
        assert_eq!(pairs("spark.a 1\\"), [pair("spark.a", "1")]);
    }

    #[test]
    fn escapes_are_resolved() {
        assert_eq!(
            pairs("spark\\ key\\=x \\u00e4\\t\\ud83d\\ude00\\q"),
            [pair("spark key=x", "ä\t😀q")]
        );
        let error = parse("spark.a 1\nspark.b \\u12").unwrap_err();
        assert_eq!(error.line, 2);
    }
}
