# SPDX-License-Identifier: GPL-2.0
# bindgen for what the kernel's `bindings` crate lacks, with the flags that
# rust/Makefile of the kernel uses, and the export of our Rust symbols.
ext_bindgen_skip_c_flags := -mno-fp-ret-in-387 -mpreferred-stack-boundary=% \
	-mskip-rax-setup -mgeneral-regs-only -msign-return-address=% \
	-mindirect-branch=thunk-extern -mindirect-branch-register \
	-mfunction-return=thunk-extern -mrecord-mcount -mabi=lp64 \
	-mindirect-branch-cs-prefix -mstack-protector-guard% -mtraceback=no \
	-mno-pointers-to-nested-functions -mno-string \
	-mno-strict-align -mstrict-align -mdirect-extern-access \
	-mexplicit-relocs -mno-check-zero-division \
	-fconserve-stack -falign-jumps=% -falign-loops=% \
	-femit-struct-debug-baseonly -fno-ipa-cp-clone -fno-ipa-sra \
	-fno-partial-inlining -fplugin-arg-arm_ssp_per_task_plugin-% \
	-fno-reorder-blocks -fno-allow-store-data-races -fasan-shadow-offset=% \
	-fzero-call-used-regs=% -fno-stack-clash-protection \
	-fno-inline-functions-called-once -fsanitize=bounds-strict \
	-fstrict-flex-arrays=% -fmin-function-alignment=% \
	-fzero-init-padding-bits=% -mno-fdpic \
	-fdiagnostics-show-context -fdiagnostics-show-context=% \
	--param=% --param asan-% -fno-isolate-erroneous-paths-dereference

ifdef CONFIG_CC_IS_CLANG
ext_bindgen_c_flags = $(c_flags)
else
ext_bindgen_c_flags = $(filter-out $(ext_bindgen_skip_c_flags),$(c_flags)) \
	-w --target=x86_64-linux-gnu
endif

quiet_cmd_ext_bindgen = BINDGEN $@
      cmd_ext_bindgen = \
	$(BINDGEN) $< $(bindgen_target_flags) --rust-target 1.85 \
		--use-core --with-derive-default --ctypes-prefix ffi \
		--no-debug '.*' --enable-function-attribute-detection \
		-o $@ -- $(ext_bindgen_c_flags) -fno-builtin -D__BINDGEN__ -DMODULE \
		$(bindgen_target_cflags) $(bindgen_target_extra)

export KERNEL_EXT_OBJ := $(abspath $(obj)/rust)

always-m += rust/bindings_generated.rs rust/bindings_helpers_generated.rs rust/exports_generated.h
targets += $(always-m)
CFLAGS_rust/helpers/helpers.o := -I$(src)/rust/bindings -Wno-missing-prototypes -Wno-missing-declarations

$(obj)/rust/bindings_generated.rs: private bindgen_target_flags = \
    $(shell grep -Ev '^\#|^$$' $(src)/rust/bindings/bindgen_parameters | sed -E "s/[^ ]+/'&'/g")
$(obj)/rust/bindings_generated.rs: private bindgen_target_extra = ; \
    sed -Ei 's/pub const RUST_CONST_HELPER_([a-zA-Z0-9_]*)/pub const \1/g' $@
$(obj)/rust/bindings_generated.rs: $(src)/rust/bindings/bindings_helper.h \
	$(src)/rust/bindings/bindgen_parameters FORCE
	$(call if_changed_dep,ext_bindgen)

$(obj)/rust/bindings_helpers_generated.rs: private bindgen_target_flags = \
    --blocklist-type '.*' --allowlist-var '' --allowlist-function 'rust_helper_.*'
$(obj)/rust/bindings_helpers_generated.rs: private bindgen_target_cflags = \
    -I$(obj) -I$(src)/rust/bindings -Wno-missing-prototypes -Wno-missing-declarations
$(obj)/rust/bindings_helpers_generated.rs: private bindgen_target_extra = ; \
    sed -Ei 's/pub fn rust_helper_([a-zA-Z0-9_]*)/\#[link_name="rust_helper_\1"]\n    pub fn \1/g' $@
$(obj)/rust/bindings_helpers_generated.rs: $(src)/rust/helpers/helpers.c \
	$(wildcard $(src)/rust/helpers/*.c) $(src)/rust/bindings/bindings_helper.h FORCE
	$(call if_changed_dep,ext_bindgen)

# The Rust symbols and helpers of libceph.ko that ceph.ko uses are exported to it, as
# rust/exports.c of the kernel does with all of the kernel crate: their long names would
# make up a fifteenth of the module's memory.
quiet_cmd_rust_exports = EXPORTS $@
      cmd_rust_exports = { $(NM) -p --undefined-only $(filter $(exports-users),$^); \
	$(NM) -p --defined-only $(filter-out $(exports-users),$(filter %.o,$^)); } | \
	awk '$$1=="U" { used[$$2] } \
		$$2~/(T|R|D|B)/ && $$3~/^(_R|rust_helper_)/ && $$3!~/__(pfx|cfi|odr_asan)|___module_init/ && $$3 in used \
		{ printf "EXPORT_SYMBOL_RUST_GPL(%s);\n",$$3 }' | sort -u > $@
exports-users := $(addprefix %,$(ceph-y))
$(obj)/rust/exports_generated.h: $(filter-out %/exports.o,$(addprefix $(obj)/,$(libceph-y))) \
	$(addprefix $(obj)/,$(ceph-y)) FORCE
	$(call if_changed,rust_exports)
CFLAGS_rust/exports.o := -I$(obj)/rust
$(obj)/rust/exports.o: $(obj)/rust/exports_generated.h
