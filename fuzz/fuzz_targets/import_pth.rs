//! State dicts: zip archives, older files, safetensors; and what their pickles are made of. An archive that is changed ends at a checksum:
//! so the file is read as a pickle, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pareidolia::import::pickle::Pickle;
use pareidolia_fuzz::import::check;
use pareidolia_fuzz::memory::limits;

fuzz_target!(|file: &[u8]| {
    check(file);
    limits::IMPORT.hold(file.len(), || {
        if let Ok(pickle) = Pickle::read(file) {
            assert!(pickle.len <= file.len());
            let _ = pickle.state_dict();
            let _ = (pickle.int(), pickle.texts(), pickle.storages().count());
        }
    });
});
