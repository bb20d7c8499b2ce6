// SPDX-License-Identifier: GPL-2.0
#include <crypto/aead.h>
#include <crypto/krb5.h>
#include <crypto/aes.h>
#include <crypto/sha2.h>
#include <crypto/skcipher.h>
#include <crypto/utils.h>
#include <linux/crc32.h>
#include <linux/scatterlist.h>

/*
 * The request lives on the stack, which only a C macro can size. @buf must be
 * linear memory (not vmalloc, not stack).
 */
__rust_helper int rust_helper_sync_skcipher_crypt(struct crypto_sync_skcipher *tfm,
						  void *buf, unsigned int len, void *iv,
						  bool encrypt)
{
	SYNC_SKCIPHER_REQUEST_ON_STACK(req, tfm);
	struct scatterlist sg;
	int ret;

	sg_init_one(&sg, buf, len);
	skcipher_request_set_sync_tfm(req, tfm);
	skcipher_request_set_callback(req, 0, NULL, NULL);
	skcipher_request_set_crypt(req, &sg, &sg, len, iv);
	ret = encrypt ? crypto_skcipher_encrypt(req) : crypto_skcipher_decrypt(req);
	skcipher_request_zero(req);
	return ret;
}

__rust_helper int rust_helper_sync_skcipher_setkey(struct crypto_sync_skcipher *tfm,
						   const u8 *key, unsigned int len)
{
	return crypto_sync_skcipher_setkey(tfm, key, len);
}

__rust_helper void rust_helper_aes128_cbc_blocks(const u8 *key, const u8 *iv, u8 *blocks,
						 size_t n)
{
	struct aes_enckey enc;

	/* It cannot fail with a key of this length. */
	aes_prepareenckey(&enc, key, AES_KEYSIZE_128);
	for (; n; n--, iv = blocks, blocks += AES_BLOCK_SIZE) {
		crypto_xor(blocks, iv, AES_BLOCK_SIZE);
		aes_encrypt(&enc, blocks, blocks);
	}
	memzero_explicit(&enc, sizeof(enc));
}

__rust_helper void rust_helper_sync_skcipher_free(struct crypto_sync_skcipher *tfm)
{
	crypto_free_sync_skcipher(tfm);
}

__rust_helper u32 rust_helper_crc32c_update(u32 crc, const void *p, size_t len)
{
	return crc32c(crc, p, len);
}

__rust_helper bool rust_helper_memory_differs(const void *a, const void *b, size_t len)
{
	return crypto_memneq(a, b, len);
}

__rust_helper void rust_helper_hmac_sha256_add(struct hmac_sha256_ctx *ctx, const u8 *data,
					       size_t len)
{
	hmac_sha256_update(ctx, data, len);
}

/* @buf must be linear memory (not vmalloc, not stack), as in sync_skcipher_crypt(). */
__rust_helper int rust_helper_krb5_encrypt_linear(const struct krb5_enctype *type,
						  struct crypto_aead *aead, void *buf,
						  size_t len, size_t data_offset,
						  size_t data_len, bool preconfounded)
{
	struct scatterlist sg;
	ssize_t ret;

	sg_init_one(&sg, buf, len);
	ret = crypto_krb5_encrypt(type, aead, &sg, 1, len, data_offset, data_len,
				  preconfounded);
	return ret < 0 ? ret : 0;
}

__rust_helper int rust_helper_krb5_decrypt_linear(const struct krb5_enctype *type,
						  struct crypto_aead *aead, void *buf,
						  size_t len)
{
	struct scatterlist sg;
	size_t offset = 0;

	sg_init_one(&sg, buf, len);
	return crypto_krb5_decrypt(type, aead, &sg, 1, &offset, &len);
}

__rust_helper void rust_helper_krb5_free(struct crypto_aead *aead)
{
	crypto_free_aead(aead);
}
