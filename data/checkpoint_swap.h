#pragma once
// Replacing a whole folder in one step.

#include <filesystem>

namespace galrec::data {

/// The names beside folder `target` that a swap uses.
std::filesystem::path incoming_folder(const std::filesystem::path& target);
std::filesystem::path outgoing_folder(const std::filesystem::path& target);

/// Makes incoming_folder(target), complete and synced, the new `target` and removes the old one. One atomic exchange
/// where the file system has it; otherwise two renames, between which outgoing_folder(target) is the complete one.
void swap_in_folder(const std::filesystem::path& target);

/// The two renames, for file systems without exchange (and for tests).
void swap_in_folder_by_renames(const std::filesystem::path& target);

/// After a kill at any moment: `target` is the old or the new complete folder (or absent if there never was one), and
/// the other two names are gone.
void recover_folder(const std::filesystem::path& target);

/// Syncs every file below `folder`, and the folders.
void sync_tree(const std::filesystem::path& folder);

}  // namespace galrec::data
