#pragma once
// The calls of libtracefs that a session makes. Through C, because the library's header (1.6) is not valid C++.

#ifdef __cplusplus
extern "C" {
#endif

struct tracefs_instance;

/// Makes the instance in the tracefs mounted at `tracing`; null: refused (errno).
struct tracefs_instance* session_instance_create(const char* tracing, const char* name);
/// Frees the handle; the instance stays.
void session_instance_free(struct tracefs_instance* instance);
/// 0, or -1 (errno).
int session_instance_write(struct tracefs_instance* instance, const char* file, const char* text);
/// KiB for each CPU. 0, or -1 (errno).
int session_instance_size(struct tracefs_instance* instance, unsigned long kb);
/// 0, or -1 (errno).

#ifdef __cplusplus
}
#endif
