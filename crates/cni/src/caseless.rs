//! Keys in any letter case, as Go reads them: a config that works with the reference must mean the same here.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde_json::{Error, Map, Value};

use crate::known::{KnownKeys, child};

/// A JSON value whose objects, read into a struct, match the struct's keys whatever their case. A key in the right case
/// counts before others.
pub(crate) struct Caseless {
    value: Value,
    trace: Option<Trace>,
}

/// Where in the whole the value is, and who wants to know which keys it may have.
#[derive(Clone)]
struct Trace {
    place: String,
    known: KnownKeys,
}

impl Trace {
    fn at(&self, place: String) -> Trace {
        Trace { place, known: self.known.clone() }
    }
}

/// The value as a `T`; errors tell where in it they are. `known` learns which keys it may have.
pub(crate) fn read<T: DeserializeOwned>(
    value: &Value,
    known: Option<&KnownKeys>,
) -> Result<T, serde_path_to_error::Error<Error>> {
    let trace = known.map(|known| Trace { place: String::new(), known: known.clone() });
    serde_path_to_error::deserialize(Caseless { value: value.clone(), trace })
}

/// The value of `key` in any case.
pub(crate) fn get<'a>(fields: &'a Value, key: &str) -> Option<&'a Value> {
    let fields = fields.as_object()?;
    fields.get(key).or_else(|| fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value))
}

impl IntoDeserializer<'_, Error> for Caseless {
    type Deserializer = Caseless;

    fn into_deserializer(self) -> Caseless {
        self
    }
}

impl Caseless {
    fn visit_map<'de, V: Visitor<'de>>(
        fields: Map<String, Value>,
        trace: Option<Trace>,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let field = |(key, value): (String, Value)| {
            let trace = trace.as_ref().map(|trace| trace.at(child(&trace.place, &key)));
            (key, Caseless { value, trace })
        };
        visitor.visit_map(MapDeserializer::new(fields.into_iter().map(field)))
    }
}

impl<'de> Deserializer<'de> for Caseless {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => Caseless::visit_map(fields, self.trace, visitor),
            Value::Array(items) => {
                let item = |(i, value): (usize, Value)| {
                    let trace = self.trace.as_ref().map(|trace| trace.at(format!("{}[{i}]", trace.place)));
                    Caseless { value, trace }
                };
                visitor.visit_seq(SeqDeserializer::new(items.into_iter().enumerate().map(item)))
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
        let Value::Object(mut fields) = self.value else { return self.deserialize_any(visitor) };
        if let Some(trace) = &self.trace {
            trace.known.add(&trace.place, keys);
        }
        let others: Vec<String> = fields.keys().filter(|key| !keys.contains(&key.as_str())).cloned().collect();
        for other in others {
            if let Some(key) = keys.iter().find(|key| key.eq_ignore_ascii_case(&other))
                && let Some(value) = fields.shift_remove(&other)
            {
                fields.entry(*key).or_insert(value);
            }
        }
        Caseless::visit_map(fields, self.trace, visitor)
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
        assert_eq!(read::<Keys>(&value, None).unwrap(), expected);
        assert_eq!(get(&value, "Some"), Some(&json!(5)));
    }

    #[test]
    fn errors_tell_where() {
        let error = read::<Keys>(&json!({"inner": [{"SOME": "x"}]}), None).unwrap_err();
        assert_eq!(error.path().to_string(), "inner[0].some");
    }
}
