#include "capture/session/instance.h"

#include <tracefs/tracefs.h>

struct tracefs_instance* session_instance_create(const char* tracing, const char* name)
{
    tracefs_set_loglevel(TEP_LOG_NONE); // what fails is told by who called
    // Else the library looks for a tracefs by itself, and mounts one where there is none. It copies the name.
    if (tracefs_set_tracing_dir((char*)tracing) != 0) {
        return 0;
    }
    return tracefs_instance_create(name);
}

void session_instance_free(struct tracefs_instance* instance)
{
    tracefs_instance_free(instance);
}

int session_instance_write(struct tracefs_instance* instance, const char* file, const char* text)
{
    return tracefs_instance_file_write(instance, file, text) < 0 ? -1 : 0;
}

int session_instance_size(struct tracefs_instance* instance, unsigned long kb)
{
    return tracefs_instance_set_buffer_size(instance, kb, -1);
}
