//! JSON values into types, with keys in any letter case, as Go reads them: a config that works with the reference must mean the
//! same here. Errors tell where in the value they are.

use std::cell::RefCell;
use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Error, Value};

use crate::known::{KnownKeys, child};

/// The value as a `T`. The objects that are read into a struct match its keys whatever their case; a key in the right case counts
/// before others.
///
/// # Errors
/// What does not fit, after its place: `inner[0].some: invalid type: ...`.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    read_watched(value, None)
}

/// The same; `known` learns which keys the value may have.
pub(crate) fn read_watched<T: DeserializeOwned>(value: &Value, known: Option<&KnownKeys>) -> Result<T, String> {
    let watch = Watch { known, wrong: RefCell::new(None) };
    T::deserialize(Caseless { value, place: &Place::Whole, watch: &watch }).map_err(|error| match watch.wrong.take() {
        Some(place) => format!("{place}: {error}"),
        None => error.to_string(),
    })
}

/// The value of `key` in any case.
pub(crate) fn get<'a>(fields: &'a Value, key: &str) -> Option<&'a Value> {
    let fields = fields.as_object()?;
    fields.get(key).or_else(|| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

/// A value, and where in the whole it is.
struct Caseless<'de, 'p> {
    value: &'de Value,
    place: &'p Place<'p>,
    watch: &'p Watch<'p>,
}

enum Place<'p> {
    Whole,
    Key(&'p Place<'p>, &'p str),
    Item(&'p Place<'p>, usize),
}

/// What is found out on the way.
struct Watch<'p> {
    known: Option<&'p KnownKeys>,
    /// Where the first error was.
    wrong: RefCell<Option<String>>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Whole => Ok(()),
            Place::Key(object, key) => f.write_str(&child(&object.to_string(), key)),
            Place::Item(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}

impl Watch<'_> {
    /// Reads a part of the whole.
    fn part<'de, S: DeserializeSeed<'de>>(
        &self,
        seed: S,
        value: &'de Value,
        place: &Place<'_>,
    ) -> Result<S::Value, Error> {
        seed.deserialize(Caseless { value, place, watch: self }).inspect_err(|_| {
            // Errors come up from the innermost place.
            self.wrong.borrow_mut().get_or_insert_with(|| place.to_string());
        })
    }
}

impl<'de> Deserializer<'de> for Caseless<'de, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Caseless { value, place, watch } = self;
        match value {
            Value::Object(fields) => {
                let rest: Vec<_> = fields.iter().map(|(key, value)| (key.as_str(), value)).collect();
                visitor.visit_map(Fields { rest: rest.into_iter(), next: None, place, watch })
            }
            Value::Array(items) => {
                let mut items = Items { rest: items.iter().enumerate(), place, watch };
                let read = visitor.visit_seq(&mut items)?;
                match items.rest.next() {
                    None => Ok(read),
                    Some((index, _)) => Err(Error::invalid_length(index + 1, &"fewer items")),
                }
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keys: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Caseless { value: Value::Object(fields), place, watch } = self else {
            return self.deserialize_any(visitor);
        };
        if let Some(known) = watch.known {
            known.add(&place.to_string(), keys);
        }
        let mut named: Vec<(&str, &Value)> = Vec::with_capacity(fields.len());
        for (name, value) in fields {
            match keys.iter().find(|key| key.eq_ignore_ascii_case(name)) {
                Some(key) if key != name => {
                    if !fields.contains_key(*key) && named.iter().all(|(other, _)| other != key) {
                        named.push((key, value));
                    }
                }
                _ => named.push((name, value)),
            }
        }
        visitor.visit_map(Fields { rest: named.into_iter(), next: None, place, watch })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}

struct Fields<'de, 'p> {
    rest: std::vec::IntoIter<(&'de str, &'de Value)>,
    next: Option<(&'de str, &'de Value)>,
    place: &'p Place<'p>,
    watch: &'p Watch<'p>,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.next = self.rest.next();
        self.next.map(|(key, _)| seed.deserialize(BorrowedStrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.next.take().ok_or_else(|| Error::custom("a value without a key"))?;
        self.watch.part(seed, value, &Place::Key(self.place, key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

struct Items<'de, 'p> {
    rest: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    place: &'p Place<'p>,
    watch: &'p Watch<'p>,
}

impl<'de> SeqAccess<'de> for &mut Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some((index, value)) = self.rest.next() else { return Ok(None) };
        self.watch.part(seed, value, &Place::Item(self.place, index)).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Keys {
        data_dir: String,
        inner: Vec<Keys>,
        some: Option<u8>,
    }

    #[test]
    fn any_case_is_read_at_any_depth_and_the_right_one_counts_first() {
        let value = json!({"DATADIR": "a", "Inner": [{"datadir": "b", "dataDir": "c"}], "SOME": 5, "other": {}});
        let inner = Keys { data_dir: "c".to_owned(), ..Keys::default() };
        let expected = Keys { data_dir: "a".to_owned(), inner: vec![inner], some: Some(5) };
        assert_eq!(read::<Keys>(&value).unwrap(), expected);
        assert_eq!(get(&value, "Some"), Some(&json!(5)));
    }

    #[test]
    fn errors_tell_where() {
        let error = |value| read::<Keys>(&value).unwrap_err();
        let text = error(json!({"inner": [{}, {"SOME": "x"}]}));
        assert_eq!(text, "inner[1].some: invalid type: string \"x\", expected u8");
        let text = error(json!({"dataDir": 1}));
        assert_eq!(text, "dataDir: invalid type: integer `1`, expected a string");
        assert_eq!(error(json!(5)), "invalid type: integer `5`, expected struct Keys");
        // What a type makes of a text is wrong where the text is.
        let text = read::<Vec<crate::Cidr>>(&json!(["10.0.0.0/8", "x"])).unwrap_err();
        assert!(text.starts_with("[1]: "), "{text}");
        let text = read::<[u8; 1]>(&json!([1, 2])).unwrap_err();
        assert!(text.contains("invalid length 2"), "{text}");
    }
}
