// SPDX-License-Identifier: GPL-2.0
//! Key types of the kernel's keyrings.
//!
//! A [`KeyType`] says how the bytes that user space hands over (`add_key(2)`)
//! become a payload. While its [`Registration`] lives, keys of the type can be
//! added, and found with [`Registration::request`].
//!
//! C header: [`include/linux/key-type.h`](srctree/include/linux/key-type.h)
//!
//! ```
//! use kernel::sync::Arc;
//! use kernel_ext::crypto::Secret;
//! use kernel_ext::keys::{KeyType, Registration};
//!
//! struct Demo;
//!
//! impl KeyType for Demo {
//!     const NAME: &'static CStr = c"demo";
//!     type Payload = Secret;
//!
//!     fn preparse(data: &[u8]) -> Result<Arc<Secret>> {
//!         Ok(Arc::new(Secret::from_slice(data)?, GFP_KERNEL)?)
//!     }
//! }
//!
//! // The module keeps the registration.
//! fn find(keys: &Registration<Demo>, description: &CStr) -> Result<Arc<Secret>> {
//!     keys.request(description)
//! }
//! ```

use crate::bindings;
use core::marker::PhantomData;
use core::slice;
use kernel::error::{from_err_ptr, from_result, to_result};
use kernel::prelude::*;
use kernel::sync::{Arc, ArcBorrow};
use kernel::types::Opaque;

/// A type of keys.
pub trait KeyType: 'static {
    /// Its name, as in `add_key(2)`.
    const NAME: &'static CStr;

    /// What a key holds. It never changes, a new key takes the place of the old.
    type Payload: Send + Sync + 'static;

    /// Makes a payload of the bytes that user space gave.
    ///
    /// # Errors
    ///
    /// Become those of `add_key(2)`; `EINVAL` for bytes that make no sense.
    fn preparse(data: &[u8]) -> Result<Arc<Self::Payload>>;
}

/// A key type while it is registered.
///
/// # Invariants
///
/// `raw` is registered. `payload.data[0]` of a positive key of it comes from
/// `Arc::<K::Payload>::into_raw`, and stays until the key is destroyed.
pub struct Registration<K: KeyType> {
    raw: KBox<Opaque<bindings::key_type>>,
    _type: PhantomData<K>,
}

// SAFETY: The type is registered or not, no matter by which thread.
unsafe impl<K: KeyType> Send for Registration<K> {}
// SAFETY: The keyrings' code synchronises itself.
unsafe impl<K: KeyType> Sync for Registration<K> {}

impl<K: KeyType> Registration<K> {
    /// Registers the type.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is one of that name, `ENOMEM`.
    pub fn new() -> Result<Self> {
        let raw = KBox::new(
            Opaque::new(bindings::key_type {
                name: K::NAME.as_char_ptr(),
                preparse: Some(preparse::<K>),
                free_preparse: Some(free_preparse::<K>),
                instantiate: Some(bindings::generic_key_instantiate),
                destroy: Some(destroy::<K>),
                describe: Some(bindings::user_describe),
                ..pin_init::zeroed()
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The box keeps the table valid until `Drop` unregisters it.
        to_result(unsafe { bindings::register_key_type(raw.get()) })?;
        // lockdep knows only static classes by itself. Not before: registering the
        // type wipes the class.
        //
        // SAFETY: The class is in the box, and leaves lockdep in `Drop`, before the
        // box goes.
        unsafe { bindings::lockdep_register_key(&raw mut (*raw.get()).lock_class) };
        // INVARIANT: Registered; the callbacks keep to the payload's type.
        Ok(Self {
            raw,
            _type: PhantomData,
        })
    }

    /// Finds a key by its description in the keyrings of the current task; may ask
    /// user space (`/sbin/request-key`) and wait for it.
    ///
    /// # Errors
    ///
    /// `ENOKEY`, `EKEYEXPIRED`, `EKEYREVOKED`, `EKEYREJECTED`, `EINTR`, `ENOMEM`.
    pub fn request(&self, description: &CStr) -> Result<Arc<K::Payload>> {
        // SAFETY: The type is registered, the description a C string.
        let key = from_err_ptr(unsafe {
            bindings::request_key_tag(
                self.raw.get().cast(),
                description.as_char_ptr(),
                core::ptr::null_mut(),
                core::ptr::null(),
            )
        })?;
        // SAFETY: We have a reference to a key that is positive, or the request had
        // failed; by the invariants its payload stays as long as we have that, so the
        // borrow is good for making another reference.
        let payload = unsafe {
            let raw = bindings::key_payload_get(key).cast::<K::Payload>();
            raw.as_ref().map(|raw| Arc::from(ArcBorrow::from_raw(raw)))
        };
        // SAFETY: The reference is ours.
        unsafe { bindings::key_put(key) };
        payload.ok_or(EINVAL)
    }
}

impl<K: KeyType> Drop for Registration<K> {
    fn drop(&mut self) {
        // SAFETY: It is registered. This waits until no key of the type, and so no
        // user of the callbacks, is left.
        unsafe { bindings::unregister_key_type(self.raw.get()) };
        // SAFETY: As registered by `new`; there is no key left with a lock of it.
        unsafe { bindings::lockdep_unregister_key(&raw mut (*self.raw.get()).lock_class) }
    }
}

/// # Safety
///
/// Called by the keyrings' code, with raw data of `datalen` bytes.
unsafe extern "C" fn preparse<K: KeyType>(prep: *mut bindings::key_preparsed_payload) -> i32 {
    from_result(|| {
        // SAFETY: `prep` is valid, ours to change, and its data is readable.
        unsafe {
            let len = (*prep).datalen;
            if len == 0 || (*prep).data.is_null() {
                return Err(EINVAL);
            }
            let payload = K::preparse(slice::from_raw_parts((*prep).data.cast(), len))?;
            (*prep).payload.data[0] = Arc::into_raw(payload).cast_mut().cast();
            (*prep).quotalen = len;
        }
        Ok(0)
    })
}

/// # Safety
///
/// Called by the keyrings' code after [`preparse`]. If the payload went to a key,
/// the pointer here is null.
unsafe extern "C" fn free_preparse<K: KeyType>(prep: *mut bindings::key_preparsed_payload) {
    // SAFETY: `prep` is valid; a payload in it is the one of `preparse`.
    unsafe {
        let payload = core::mem::replace(&mut (*prep).payload.data[0], core::ptr::null_mut());
        drop_payload::<K>(payload);
    }
}

/// # Safety
///
/// Called by the keyrings' code when nobody refers to the key any more.
unsafe extern "C" fn destroy<K: KeyType>(key: *mut bindings::key) {
    // SAFETY: `key` is valid; what it holds is the payload of `preparse`, or null.
    unsafe { drop_payload::<K>(bindings::key_payload_get(key)) }
}

/// # Safety
///
/// `payload` is null, or comes from `Arc::<K::Payload>::into_raw` and is not used
/// any more.
unsafe fn drop_payload<K: KeyType>(payload: *mut kernel::ffi::c_void) {
    if !payload.is_null() {
        // SAFETY: It comes from `Arc::into_raw`, and is given up.
        drop(unsafe { Arc::from_raw(payload.cast::<K::Payload>()) });
    }
}

#[kunit_tests(kernel_ext_keys)]
mod tests {
    use super::*;

    struct TestKey;

    impl KeyType for TestKey {
        const NAME: &'static CStr = c"kernel_ext_test";
        type Payload = u32;

        fn preparse(data: &[u8]) -> Result<Arc<u32>> {
            let bytes = data.try_into().map_err(|_| EINVAL)?;
            Ok(Arc::new(u32::from_le_bytes(bytes), GFP_KERNEL)?)
        }
    }

    #[test]
    fn registers_once() -> Result {
        let keys = Registration::<TestKey>::new()?;
        assert!(matches!(Registration::<TestKey>::new(), Err(e) if e == EEXIST));
        assert!(keys.request(c"no such key").is_err());
        drop(keys);
        Registration::<TestKey>::new().map(drop)
    }

    #[test]
    fn payload_goes_in_and_out() {
        let data = 7u32.to_le_bytes();
        let mut prep: bindings::key_preparsed_payload = pin_init::zeroed();
        prep.data = data.as_ptr().cast();
        prep.datalen = 4;
        // SAFETY: As the keyrings' code does it.
        unsafe {
            assert_eq!(preparse::<TestKey>(&mut prep), 0);
            assert_eq!(prep.quotalen, 4);
            assert_eq!(*prep.payload.data[0].cast::<u32>(), 7);
            free_preparse::<TestKey>(&mut prep);
            assert!(prep.payload.data[0].is_null());
            prep.datalen = 3;
            assert_eq!(preparse::<TestKey>(&mut prep), EINVAL.to_errno());
        }
    }
}
