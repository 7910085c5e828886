#pragma once
#include "passes/pass.h"

/// heddle's own passes, each in the file of its name.
namespace heddle::passes {

Pass choose_layouts();
Pass cse();
Pass dce();
Pass fold_constants();
Pass fuse_elementwise();
Pass fuse_gate_up_swiglu();
Pass fuse_norm_matmul();
Pass fuse_norm_residual();
Pass fuse_quantize();
Pass fuse_residual();
Pass fuse_rope_cache();
Pass group_gate_up();
Pass group_head_norms();
Pass group_qkv();
Pass group_rest();
Pass group_router();
Pass group_select();
Pass norm_scale_through_matmul();
Pass plan_memory();
Pass quantize_activations();
Pass schedule();

}  // namespace heddle::passes
