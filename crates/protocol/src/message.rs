//! One table per direction: a message's number, its fields, its meaning. Encoder and decoder come from the table.

use crate::DecodeError;
use crate::field::{Field, Fields};

/// A typed message that stands in one control frame.
pub trait Message: Sized {
    /// The number in the frame's header.
    fn kind(&self) -> u16;

    /// Appends the payload.
    fn encode(&self, payload: &mut Vec<u8>);

    /// Reads the payload of a frame of that kind.
    ///
    /// # Errors
    /// [`DecodeError::UnknownKind`] when the number is none of this table's; otherwise whatever is wrong with the fields.
    fn decode(kind: u16, payload: &[u8]) -> Result<Self, DecodeError>;
}

macro_rules! messages {
    (
        $(#[$enum_doc:meta])*
        pub enum $name:ident {
            $($(#[$doc:meta])* $variant:ident = $kind:literal { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*
        }
    ) => {
        $(#[$enum_doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$doc])* $variant { $($(#[$field_doc])* $field: $type,)* },)*
        }

        impl $crate::Message for $name {
            fn kind(&self) -> u16 {
                match self { $(Self::$variant { .. } => $kind,)* }
            }

            fn encode(&self, payload: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field,)* } => $crate::message::encode_fields(payload, &[$($field,)*]),)*
                }
            }

            fn decode(kind: u16, payload: &[u8]) -> Result<Self, $crate::DecodeError> {
                let mut fields = $crate::field::Fields::new(payload);
                let message = match kind {
                    $($kind => Self::$variant { $($field: $crate::message::decode_field(&mut fields)?,)* },)*
                    unknown => return Err($crate::DecodeError::UnknownKind(unknown)),
                };
                fields.finish()?;
                Ok(message)
            }
        }

        #[cfg(test)]
        impl proptest::arbitrary::Arbitrary for $name {
            type Parameters = ();
            type Strategy = proptest::strategy::BoxedStrategy<Self>;

            fn arbitrary_with((): ()) -> Self::Strategy {
                use proptest::prelude::*;
                proptest::strategy::Union::new(vec![
                    $((Just(()), $(any::<$type>(),)*).prop_map(|((), $($field,)*)| Self::$variant { $($field,)* }).boxed(),)*
                ])
                .boxed()
            }
        }
    };
}

pub(crate) use messages;

/// A field of any type, so that the table can hand all of a message's fields to one loop.
pub(crate) trait Encode {
    fn append_to(&self, payload: &mut Vec<u8>);
}

impl<T: Field> Encode for T {
    fn append_to(&self, payload: &mut Vec<u8>) {
        self.encode(payload);
    }
}

pub(crate) fn encode_fields(payload: &mut Vec<u8>, fields: &[&dyn Encode]) {
    fields.iter().for_each(|field| field.append_to(payload));
}

pub(crate) fn decode_field<T: Field>(fields: &mut Fields<'_>) -> Result<T, DecodeError> {
    T::decode(fields)
}
